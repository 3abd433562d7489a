"""What is computed anew as a lake grows: when it is due, whatever failed before."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.locks.organize_lock import Turn
from organize.errors import ErasedMeanwhile, NothingToCheck, StageFailed
from organize.follow import revisions
from organize.follow.counts import Counts
from organize.follow.organizer import Organizer
from organize.follow.revisions import Revision, revise

_SPARK = cast("SparkSession", None)


class Grown:
    """A revision that records whether it has the turn when it writes, and fails as told."""

    def __init__(self) -> None:
        self.runs = 0
        self.due, self.first = True, True
        self.error: Exception | None = None

    def run(self, spark: SparkSession, settings: Settings, model_id: str, turn: Turn) -> int:
        if self.error is not None:
            raise self.error
        with turn():
            self.runs += 1
            self.due = self.first = False
        return 7

    def revision(self, name: str) -> Revision:
        return Revision(name, name, lambda *_: self.due, lambda *_: self.first, self.run)


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> tuple[Grown, Grown]:
    pair = Grown(), Grown()
    monkeypatch.setattr(revisions, "REVISIONS", (pair[0].revision("one"), pair[1].revision("two")))
    return pair


class _Organizer:
    """What a revision needs of an organizer."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.model_id = settings, "m"
        self.counts, self.lines, self.turns = Counts(), list[str](), 0
        self.report = self.lines.append

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.turns += 1
        yield


@pytest.fixture
def organizer(settings: Settings) -> Any:
    return _Organizer(settings)


def test_what_is_due_is_computed_once_and_the_first_time_counts_its_images(
    grown: tuple[Grown, Grown], organizer: Any
) -> None:
    grown[1].first = False
    revise(_SPARK, cast("Organizer", organizer))
    revise(_SPARK, cast("Organizer", organizer))
    assert [each.runs for each in grown] == [1, 1] and organizer.turns == 2
    assert organizer.counts.staged == {"one": 7}
    assert [line.partition(" in ")[0] for line in organizer.lines] == ["one: 7 images", "two: 7 images"]
    grown[0].due = True
    revise(_SPARK, cast("Organizer", organizer))
    assert [each.runs for each in grown] == [2, 1] and organizer.counts.staged == {"one": 7}


@pytest.mark.parametrize("error", [NothingToCheck("too few"), ErasedMeanwhile("1 images were erased")])
def test_what_cannot_be_computed_now_stays_due_and_the_next_one_is_computed(
    grown: tuple[Grown, Grown], organizer: Any, error: Exception
) -> None:
    grown[0].error = error
    revise(_SPARK, cast("Organizer", organizer))
    assert grown[0].due and [each.runs for each in grown] == [0, 1]
    grown[0].error = None
    revise(_SPARK, cast("Organizer", organizer))
    assert [each.runs for each in grown] == [1, 1]


def test_a_failure_is_one_line_that_names_the_revision(grown: tuple[Grown, Grown], organizer: Any) -> None:
    grown[0].error = ValueError("no\nnumbers")
    with pytest.raises(StageFailed, match=r"^one: ValueError: no numbers$"):
        revise(_SPARK, cast("Organizer", organizer))
    assert grown[0].due
