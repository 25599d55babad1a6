"""What the load generators say, and how a response's end is found."""

import pytest

from tests.bench.load import Answer, LoadFailed, Port, parse_output, response_complete

OUTPUT = '{"requests": 28468, "errors": 3, "duration": 2003394, "median": 6302, "p99": 9394, "longest": 14676}\n'


def test_the_last_line_tells_all_in_microseconds() -> None:
    result = parse_output(OUTPUT)
    assert result.requests == 28468
    assert result.errors == 3
    assert result.duration == pytest.approx(2.003394)
    assert result.median == pytest.approx(0.006302)
    assert result.p99 == pytest.approx(0.009394)
    assert result.longest == pytest.approx(0.014676)
    assert result.rate == pytest.approx(28468 / 2.003394)


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1", "{}", "[1]", '{"requests": null}'])
def test_output_of_another_shape_is_a_failure_that_shows_it(output: str) -> None:
    with pytest.raises(LoadFailed) as failed:
        parse_output(output)
    assert output in str(failed.value)


def test_no_time_at_all_is_no_rate() -> None:
    line = '{"requests": 0, "duration": 0, "median": 0, "p99": 0, "longest": 0, "errors": 0}'
    assert parse_output(line).rate == 0


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfive!", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_a_response_is_complete_with_the_last_byte_of_its_body(data: bytes, complete: bool) -> None:
    assert response_complete(data) is complete


def test_an_answer_knows_its_headers_and_whether_it_is_a_success() -> None:
    answer = Answer(b"HTTP/1.1 200 OK\r\nFnd-Timing: queue=0\r\nContent-Length: 0\r\n\r\n", 0.1)
    assert answer.succeeded
    assert answer.header("fnd-timing") == "queue=0"
    assert answer.header("Fn-Call-Id") == ""
    assert not Answer(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", 0.1).succeeded


def test_a_request_declares_the_length_of_its_body() -> None:
    head, _, body = Port(80, "/invoke/x").request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /invoke/x HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
