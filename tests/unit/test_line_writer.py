"""Lines written by a thread: none waits, what does not fit is counted and marked, all is written at the end."""

from __future__ import annotations

import os
import threading

from fnd.line_writer import LineWriter


def lost_line(count: int) -> bytes:
    return b"lost %d\n" % count


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_lines_are_written_in_order_and_all_of_them_by_close() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, lost_line)
    for number in range(1000):
        lines.msg(b"line %d\n" % number)
    lines.close(10)
    os.close(writer)
    assert read_all(reader) == b"".join(b"line %d\n" % number for number in range(1000))
    assert lines.lost == 0


def test_a_reader_that_does_not_read_costs_lines_and_no_time() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, lost_line, capacity=10_000)
    for _ in range(2000):
        lines.msg(b"x" * 99 + b"\n")  # more than the pipe (64 KiB) and the queue together
    assert lines.lost > 0
    lost = lines.lost
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(read_all(reader)))
    thread.start()
    lines.close(10)
    os.close(writer)
    thread.join()
    assert found[0].count(b"x" * 99) == 2000 - lost
    assert found[0].endswith(b"lost %d\n" % lost)


def test_a_reader_that_has_gone_loses_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = LineWriter(writer, lost_line)
    lines.msg(b"a\n")
    lines.close(10)
    os.close(writer)
    assert lines.lost == 1


def test_a_non_blocking_descriptor_gets_all() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    lines = LineWriter(writer, lost_line)
    lines.msg(b"x" * 200_000)
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(read_all(reader)))
    thread.start()
    lines.close(10)
    os.close(writer)
    thread.join()
    assert found == [b"x" * 200_000]


def test_after_close_lines_are_lost() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, lost_line)
    lines.close(10)
    lines.msg(b"a\n")
    os.close(writer)
    assert read_all(reader) == b""
    assert lines.lost == 1


def test_a_reader_that_never_reads_does_not_hold_up_the_end() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, lost_line)
    lines.msg(b"x" * 200_000)
    lines.close(0.01)
    os.close(reader)  # lets the thread go
    os.close(writer)
