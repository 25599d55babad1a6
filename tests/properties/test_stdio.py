"""Whatever a function writes to its output, and whenever, a format over streams makes no answer of it that is none."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fnd.testing.stream_fuzz import Ending, Outcome, Play, play_by_chance, throw
from tests.stdio_subjects import SUBJECTS

formats = pytest.mark.parametrize("format_", sorted(SUBJECTS))


@formats
@given(chance=st.randoms(use_true_random=False))
def test_what_comes_is_an_answer_or_refused_or_awaited_and_nothing_of_it_is_the_next_calls(
    format_: str, chance: random.Random
) -> None:
    subject = SUBJECTS[format_]
    trio.run(throw, subject, play_by_chance(chance, subject), b"following")


@formats
@given(data=st.binary(max_size=200), cut=st.integers(0, 200), ending=st.sampled_from(Ending))
def test_bytes_without_any_sense_are_no_trouble(format_: str, data: bytes, cut: int, ending: Ending) -> None:
    trio.run(throw, SUBJECTS[format_], Play(parts=[data[:cut], data[cut:]], ending=ending), b"following")


@formats
def test_each_of_the_answers_that_frames_are_made_of_is_one(format_: str) -> None:
    subject = SUBJECTS[format_]
    for answer in subject.answers:
        ending = Ending.SILENCE if subject.codec.hot else Ending.EXIT
        assert trio.run(throw, subject, Play(parts=[answer], ending=ending), b"following") is Outcome.ANSWERED
