"""Which embeddings have been through which stage."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from organize.errors import OrganizeError
from organize.features.embeddings import BEGINNING
from organize.follow import progress
from organize.follow.counts import Counts


def at(micros: int) -> datetime:
    return BEGINNING + timedelta(days=20_000, microseconds=micros)


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path))})


def test_progress_is_kept_to_the_microsecond_and_per_model(own: Settings) -> None:
    assert progress.read(own, "net-128") == {}
    progress.write(own, "net-128", {"groups": at(1), "clusters": at(2)})
    assert progress.read(own, "net-128") == {"groups": at(1), "clusters": at(2)}
    assert progress.read(own, "other") == {}


def test_a_damaged_note_is_an_error_that_names_it(own: Settings, tmp_path: Path) -> None:
    progress.write(own, "net-128", {"groups": at(1)})
    (note,) = (tmp_path / "checkpoints").glob("*.json")
    for content in ("{", '{"groups": "soon"}', "[]"):
        note.write_text(content)
        with pytest.raises(OrganizeError, match=r"organized-net-128\.json cannot be read .* delete it"):
            progress.read(own, "net-128")


def test_the_commits_after_the_note_are_unfinished_for_their_stages() -> None:
    done = {"groups": at(2), "clusters": at(1)}
    unfinished = progress.unfinished(done, ["groups", "clusters", "scores"], [at(3), at(1), at(2)])
    assert unfinished == [
        (at(1), ["scores"]),
        (at(2), ["clusters", "scores"]),
        (at(3), ["groups", "clusters", "scores"]),
    ]
    assert progress.unfinished(done, ["groups"], [at(1), at(2)]) == []


def test_counts_have_all_keys_of_stages() -> None:
    counts = Counts(embedded=3)
    counts.add_stage("grouped", 2)
    counts.add_stage("grouped", 1)
    results = counts.results(("grouped", "scored"))
    assert (results["embedded"], results["grouped"], results["scored"]) == (3, 3, 0)
