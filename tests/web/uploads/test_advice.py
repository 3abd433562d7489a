"""Each reason has words for people, and a place in the feed is read back as it was written."""

import pytest

from streaming.contract.verdict import REASONS
from web.uploads.advice import ADVICE, advice
from web.uploads.verdict_feed import VerdictEvent, parse_place


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_says_what_is_wrong_and_what_to_do(reason: str) -> None:
    words = advice(reason)
    assert words is not None
    assert words.what.endswith(".") and words.todo.endswith(".")
    assert "_" not in words.what + words.todo, "a word of the code"


def test_there_is_no_advice_on_what_does_not_exist() -> None:
    assert set(ADVICE) == set(REASONS)
    assert advice(None) is advice("of_a_newer_hub") is None


def test_a_place_is_read_back() -> None:
    event = VerdictEvent({3: 5, 0: 17}, None, 0, 16, False)  # type: ignore[arg-type]
    assert event.id == "0-17.3-5"
    assert parse_place(event.id) == {0: 17, 3: 5}
    assert event.is_after({0: 16}) and event.is_after({3: 9}) and event.is_after({})
    assert not event.is_after({0: 17})
    assert not event.is_after(None), "it was there before the server"


@pytest.mark.parametrize("text", ["", "x", "1", "1-2-3", "1-2.", "a-b", "1--2", "." * 100])
def test_text_that_is_no_place_asks_for_all(text: str) -> None:
    assert parse_place(text) == {}
