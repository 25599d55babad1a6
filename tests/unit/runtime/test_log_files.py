"""Function logs on disk: how output becomes lines, and how files stay bounded and readable whatever happens."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnd.runtime.log_files import MAX_HISTORY, MAX_LINE, MAX_OPEN, LineSplitter, LogFiles, LogLine

MIB = 1 << 20


def splitter() -> LineSplitter:
    return LineSplitter("F1", "C1")


def line(text: str, *, fn_id: str = "F1", call_id: str = "K1", stream: str = "stdout") -> LogLine:
    return LogLine(1.5, fn_id, "C1", call_id, stream, text)


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# Lines.


def test_output_is_cut_at_line_ends_wherever_it_was_read() -> None:
    cutting = splitter()
    assert texts(list(cutting.feed("stdout", b"on", "K1", 1))) == []
    assert texts(list(cutting.feed("stdout", b"e\r\ntw", "K1", 2))) == ["one"]
    assert texts(list(cutting.feed("stdout", b"o\n\nthree", "K1", 3))) == ["two", ""]
    assert cutting.unfinished
    assert texts(list(cutting.flush())) == ["three"]
    assert not cutting.unfinished


def test_a_line_has_the_time_at_which_it_began() -> None:
    cutting = splitter()
    list(cutting.feed("stdout", b"on", "K1", 1.0))
    assert [line.at for line in cutting.feed("stdout", b"e\ntwo\n", "K1", 2.0)] == [1.0, 2.0]


def test_streams_are_cut_apart() -> None:
    cutting = splitter()
    list(cutting.feed("stdout", b"out", "K1", 1))
    assert texts(list(cutting.feed("stderr", b"err\n", "K1", 1))) == ["err"]
    assert texts(list(cutting.feed("stdout", b"put\n", "K1", 1))) == ["output"]


def test_a_line_ends_with_its_call() -> None:
    cutting = splitter()
    list(cutting.feed("stdout", b"one", "K1", 1))
    lines = list(cutting.feed("stdout", b"two\n", "K2", 2))
    assert [(line.text, line.call_id) for line in lines] == [("one", "K1"), ("two", "K2")]


def test_a_mark_comes_after_what_was_begun() -> None:
    cutting = splitter()
    list(cutting.feed("stderr", b"half", "K1", 1))
    lines = list(cutting.mark("cut", "K1", 2))
    assert [(line.stream, line.text) for line in lines] == [("stderr", "half"), ("fnd", "cut")]


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_no_cutting_of_reads_changes_the_lines(parts: list[bytes]) -> None:
    cutting = splitter()
    found = [line.text for part in parts for line in cutting.feed("stdout", part, "K1", 1)]
    found += [line.text for line in cutting.flush()]
    whole = b"".join(parts).split(b"\n")
    expected = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in whole[:-1]]
    if whole[-1]:
        expected.append(whole[-1].decode("utf-8", "replace"))
    assert found == expected


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("character", ["x", "é", "€", "🎈"])
def test_an_endless_line_is_kept_in_pieces_that_join_to_the_whole(character: str, end: bytes) -> None:
    cutting = splitter()
    data = character.encode() * MAX_LINE
    lines: list[LogLine] = []
    for start in range(0, len(data), 1000):
        lines += cutting.feed("stdout", data[start : start + 1000], "K1", 1)
    lines += cutting.feed("stdout", end, "K1", 1)
    lines += cutting.flush()
    assert "".join(texts(lines)) == character * MAX_LINE
    assert all(len(line.text.encode()) <= MAX_LINE for line in lines)
    assert [line.continued for line in lines] == [True] * (len(lines) - 1) + [False]


@given(
    st.builds(
        LogLine,
        at=st.floats(0, 1e10).map(lambda at: round(at, 6)),
        fn_id=st.just("F1"),
        container_id=st.text(),
        call_id=st.text(),
        stream=st.text(),
        text=st.binary().map(lambda data: data.decode("utf-8", "replace")),
        continued=st.booleans(),
    )
)
def test_a_line_is_read_back_as_it_was_kept(kept: LogLine) -> None:
    try:
        encoded = kept.encode()
        kept.container_id.encode()
        kept.call_id.encode()
        kept.stream.encode()
    except UnicodeEncodeError:
        return  # identifiers are ours, and ASCII
    assert encoded.count(b"\n") == 1
    assert LogLine.decode("F1", encoded) == kept


# Files.


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path / "logs", keep=8000, keep_total=MIB)


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*.ndjson"))


def test_what_was_appended_is_read_oldest_first(files: LogFiles) -> None:
    files.append("F1", [line("one").encode(), line("two").encode()])
    files.append("F1", [line("three").encode()])
    files.append("F2", [line("other").encode()])
    assert files.read("F1", None, 100) == [line("one"), line("two"), line("three")]
    assert texts(files.read("F1", None, 2)) == ["two", "three"]
    assert files.read("F3", None, 100) == []


def test_one_call_is_found_among_others_whatever_texts_say(files: LogFiles) -> None:
    files.append(
        "F1",
        [
            line("mine", call_id="K1").encode(),
            line('"call":"K1"', call_id="K2").encode(),
            line("mine too", call_id="K1").encode(),
            line("other", call_id="K11").encode(),
        ],
    )
    assert texts(files.read("F1", "K1", 100)) == ["mine", "mine too"]
    assert texts(files.read("F1", "K1", 1)) == ["mine too"]


def test_a_fn_keeps_its_latest_and_no_more_than_it_may(files: LogFiles, tmp_path: Path) -> None:
    for number in range(1000):
        files.append("F1", [line(f"line {number}").encode()])
        assert size_of(tmp_path) <= 8000
    kept = texts(files.read("F1", None, 10_000))
    assert kept == [f"line {number}" for number in range(1000 - len(kept), 1000)]
    assert size_of(tmp_path) > 6000


def test_one_large_batch_is_spread_over_segments(files: LogFiles, tmp_path: Path) -> None:
    files.append("F1", [line(f"line {number}").encode() for number in range(1000)])
    assert size_of(tmp_path) <= 8000
    assert texts(files.read("F1", None, 1)) == ["line 999"]


def test_a_smaller_limit_holds_from_the_next_rotation_on(files: LogFiles, tmp_path: Path) -> None:
    files.append("F1", [line("x" * 100).encode() for _ in range(100)])
    files.keep = 2000
    files.append("F1", [line("x" * 100).encode() for _ in range(10)])
    assert size_of(tmp_path) <= 2000


def test_all_together_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "logs", keep=4000, keep_total=20_000)
    for number in range(100):
        files.append(f"F{number}", [line("x" * 100).encode() for _ in range(5)])
        os.utime(next((tmp_path / "logs" / f"F{number}").iterdir()), (number, number))
        assert size_of(tmp_path) <= 20_000
    left = sorted(int(path.name[1:]) for path in (tmp_path / "logs").iterdir())
    assert left == list(range(100 - len(left), 100))
    assert len(left) > 10


def test_what_is_there_from_before_is_counted_and_continued(files: LogFiles, tmp_path: Path) -> None:
    files.append("F1", [line(f"line {number}").encode() for number in range(40)])
    files.close()
    again = LogFiles(tmp_path / "logs", keep=8000, keep_total=MIB)
    for number in range(40, 200):
        again.append("F1", [line(f"line {number}").encode()])
    assert size_of(tmp_path) <= 8000
    assert texts(again.read("F1", None, 2)) == ["line 198", "line 199"]


def test_a_record_torn_by_a_crash_costs_itself_alone(files: LogFiles, tmp_path: Path) -> None:
    files.append("F1", [line("one").encode()])
    files.close()
    (segment,) = (tmp_path / "logs/F1").iterdir()
    with segment.open("ab") as file:
        file.write(line("torn").encode()[:-10])
    again = LogFiles(tmp_path / "logs", keep=8000, keep_total=MIB)
    again.append("F1", [line("two").encode()])
    assert texts(again.read("F1", None, 10)) == ["one", "two"]


def test_a_failed_write_leaves_whole_records_and_the_next_can_succeed(
    files: LogFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.append("F1", [line("one").encode()])
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as context:
        context.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left"):
            files.append("F1", [line("two").encode()])
    files.append("F1", [line("three").encode()])
    assert texts(files.read("F1", None, 10)) == ["one", "three"]


def test_files_removed_by_somebody_are_made_anew(files: LogFiles, tmp_path: Path) -> None:
    files.append("F1", [line("one").encode()])
    shutil.rmtree(tmp_path / "logs")
    files.append("F1", [line("two").encode()])
    assert texts(files.read("F1", None, 10)) == ["two"]


def test_few_files_are_open_however_many_fns_write(files: LogFiles) -> None:
    before = open_files()
    for number in range(3 * MAX_OPEN):
        files.append(f"F{number}", [line("x").encode()])
    assert open_files() - before == MAX_OPEN
    files.close()
    assert open_files() == before


def test_a_forgotten_fn_leaves_nothing(files: LogFiles, tmp_path: Path) -> None:
    before = open_files()
    files.append("F1", [line("x").encode()])
    files.forget("F1")
    files.forget("F2")  # that never wrote
    assert list((tmp_path / "logs").iterdir()) == []
    assert open_files() == before


def test_only_the_owner_can_read_what_functions_write(files: LogFiles, tmp_path: Path) -> None:
    files.append("F1", [line("x").encode()])
    directory = tmp_path / "logs/F1"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert next(directory.iterdir()).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("fn_id", ["", "..", "../F1", "/etc", "F1/..", "F\0"])
def test_no_identifier_leads_out_of_the_directory(files: LogFiles, tmp_path: Path, fn_id: str) -> None:
    files.append("F1", [line("x").encode()])
    assert files.read(fn_id, None, 10) == []
    with pytest.raises(ValueError):
        files.append(fn_id, [line("x").encode()])
    with pytest.raises(ValueError):
        files.forget(fn_id)
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["F1"]


def test_a_history_is_bounded_in_bytes(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "logs", keep=8 * MAX_HISTORY, keep_total=64 * MAX_HISTORY)
    records = MAX_HISTORY // MAX_LINE + 10
    files.append("F1", [line("x" * MAX_LINE).encode() for _ in range(records)])
    read = files.read("F1", None, 10_000)
    assert sum(len(line.text) for line in read) <= MAX_HISTORY
    assert len(read) > records // 2
