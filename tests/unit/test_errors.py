"""Errors: each has a message that can be written anywhere."""

from __future__ import annotations

import pytest

from fnd import errors


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("no file \udcff here", "no file \\udcff here"),
        ("half of \ud83d", "half of \\ud83d"),
        ("Grüße, 你好 \U0001f600\n", "Grüße, 你好 \U0001f600\n"),
    ],
)
def test_a_message_can_be_encoded_whatever_it_was_made_of(message: str, told: str) -> None:
    error = errors.FunctionFailed(message)
    assert (error.message, str(error)) == (told, told)
    assert error.message.encode()
