"""Decisions on real tables, without Spark: recorded, applied, undone, resumed."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer
from lake.schemas import LABEL_CONFLICT, NONE_OF_THESE
from lake.table import Table
from organize.chunk import SampleChanges
from organize.errors import BadDecision
from organize.review import decision_log
from organize.review.decisions import Kind, Wish
from tests.support.commands import ROOT

_COLUMNS = (
    "image_id", "label", "label_source", "flags", "label_quality", "suggested_label", "cluster",
    "overall_cluster",
)  # fmt: skip


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """Samples a (claimed), b (claimed twice: as cat, then as dog) and c."""
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    common = {"label": "cat", "label_source": "claimed", "label_quality": 0.1, "cluster": "cat-1"}
    common["overall_cluster"] = "all-1"
    row_writer.append(
        own,
        Table.SAMPLES,
        {"image_id": "a", "flags": ["dark"], "suggested_label": "dog"} | common,
        {"image_id": "b", "flags": [LABEL_CONFLICT]} | common,
        {"image_id": "c", "flags": []} | common,
    )
    uploads = [("a", "cat"), ("b", "cat"), ("b", "dog"), ("c", "cat")]
    row_writer.append(
        own,
        Table.UPLOADS,
        *[
            {"image_id": image_id, "label": label, "verdict": "accepted", "topic": "t", "partition": 0}
            | {"offset": offset, "event_time": datetime(2026, 11, 1, offset, tzinfo=UTC)}
            for offset, (image_id, label) in enumerate(uploads)
        ],
    )
    return own


def samples(own: Settings) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in row_writer.read(own, Table.SAMPLES, _COLUMNS)}


def log(own: Settings) -> list[dict[str, Any]]:
    columns = ("decision_id", "kind", "image_id", "label_before", "label_after", "user", "decided")
    return sorted(row_writer.read(own, Table.DECISIONS, columns), key=lambda row: row["decided"])


def test_decisions_change_samples_and_say_who_when_before_and_after(own: Settings) -> None:
    wishes = [Wish("a", Kind.RELABEL, "dog"), Wish("b", Kind.KEEP), Wish("c", Kind.NONE_OF_THESE)]
    done = decision_log.decide(own, wishes, "ann")
    found = samples(own)
    assert found["a"] == {
        "image_id": "a", "label": "dog", "label_source": "corrected", "flags": ["dark"],
        "label_quality": 1.0, "suggested_label": None, "cluster": None, "overall_cluster": "all-1",
    }  # fmt: skip
    assert (found["b"]["label_source"], found["b"]["flags"]) == ("checked", [])
    assert (found["b"]["cluster"], found["b"]["overall_cluster"]) == ("cat-1", "all-1")
    assert found["c"]["flags"] == [NONE_OF_THESE]
    assert (found["c"]["cluster"], found["c"]["overall_cluster"]) == (None, None), (
        "it shows none of the labels"
    )
    recorded = {row["image_id"]: row for row in log(own)}
    assert {row["decision_id"] for row in recorded.values()} == {done.decision_id}
    assert recorded["a"]["label_before"] == "cat" and recorded["a"]["label_after"] == "dog"
    assert recorded["a"]["user"] == "ann"
    assert abs((datetime.now(UTC) - recorded["a"]["decided"]).total_seconds()) < 60


def test_undo_restores_what_the_uploads_claim(own: Settings) -> None:
    before = samples(own)
    wishes = [Wish("b", Kind.RELABEL, "owl"), Wish("c", Kind.NONE_OF_THESE)]
    done = decision_log.decide(own, wishes, "ann")
    assert done.decision_id
    decision_log.undo(own, done.decision_id, "ben")
    after = samples(own)
    for image_id in "bc":
        for column in ("label", "label_source", "flags"):
            assert after[image_id][column] == before[image_id][column]
    with pytest.raises(BadDecision, match="no decision that could be undone"):
        decision_log.decide(own, [Wish("c", Kind.UNDO)], "ben")


def test_undo_of_the_second_decision_restores_the_first(own: Settings) -> None:
    first = decision_log.decide(own, [Wish("a", Kind.RELABEL, "dog")], "ann").decision_id
    decision_log.decide(own, [Wish("a", Kind.RELABEL, "owl")], "ann")
    with pytest.raises(BadDecision, match="image a was decided again in dec-"):
        decision_log.undo(own, first or "", "ann")
    decision_log.decide(own, [Wish("a", Kind.UNDO)], "ann")
    assert samples(own)["a"]["label"] == "dog"


def test_one_bad_wish_changes_nothing(own: Settings) -> None:
    before = samples(own)
    with pytest.raises(BadDecision, match="no sample has the image id 'x', 'y', 'z' and 1 more"):
        wishes = [Wish("a", Kind.KEEP), *[Wish(each, Kind.KEEP) for each in "xyzw"]]
        decision_log.decide(own, wishes, "ann")
    with pytest.raises(BadDecision, match="two decisions about image a"):
        decision_log.decide(own, [Wish("a", Kind.KEEP), Wish("a", Kind.NONE_OF_THESE)], "ann")
    with pytest.raises(BadDecision, match="no decision 'dec-0': there is none yet"):
        decision_log.undo(own, "dec-0", "ann")
    assert samples(own) == before and log(own) == []


def test_the_same_file_twice_is_recorded_once(own: Settings) -> None:
    wishes = [Wish("a", Kind.RELABEL, "dog"), Wish("b", Kind.KEEP)]
    decision_log.decide(own, wishes, "ann")
    again = decision_log.decide(own, wishes, "ann")
    assert (again.decision_id, again.unchanged, again.repaired) == (None, 2, 0)
    assert len(log(own)) == 2


def test_who_decided_first_does_not_overwrite_who_decided_in_between(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = row_writer.append

    def append_slowly(settings: Settings, table: Table, *rows: Any) -> None:
        append(settings, table, *rows)
        monkeypatch.setattr(row_writer, "append", append)
        decision_log.decide(own, [Wish("a", Kind.RELABEL, "dog")], "ben")

    monkeypatch.setattr(row_writer, "append", append_slowly)
    decision_log.decide(own, [Wish("a", Kind.NONE_OF_THESE)], "ann")
    assert [row["user"] for row in log(own)] == ["ann", "ben"]
    assert samples(own)["a"]["label"] == "dog" and samples(own)["a"]["flags"] == ["dark"]


def test_two_people_and_a_label_check_at_once_leave_the_newest_decision(own: Settings) -> None:
    together = threading.Barrier(3)

    def decide(kinds: Sequence[Kind]) -> None:
        for kind in kinds:
            together.wait(60)
            decision_log.decide(own, [Wish("a", kind, "dog" if kind is Kind.RELABEL else None)], kind.value)

    def judge(rounds: int) -> None:
        for _ in range(rounds):
            together.wait(60)
            changes = SampleChanges(own)
            changes.set("a", label_quality=0.25, suggested_label="owl", label_reason="a probe")
            changes.write()

    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            ann = pool.submit(decide, [Kind.RELABEL, Kind.NONE_OF_THESE])
            ben = pool.submit(decide, [Kind.NONE_OF_THESE, Kind.RELABEL])
            for done in (ann, ben, pool.submit(judge, 2)):
                done.result()
        newest, sample = log(own)[-1], samples(own)["a"]
        excluded = NONE_OF_THESE in sample["flags"]
        assert excluded == (newest["kind"] == Kind.NONE_OF_THESE.value)
        assert sample["label_source"] != "claimed" and sample["label_quality"] == 1.0
        assert sample["suggested_label"] is None
        decision_log.decide(own, [Wish("b", Kind.KEEP)], "carl")
        assert samples(own)["a"] == sample, "nothing was left to repair"


def test_what_was_killed_before_the_samples_were_updated_is_applied_by_the_next(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(row_writer, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            decision_log.decide(own, [Wish("a", Kind.RELABEL, "dog")], "ann")
    assert samples(own)["a"]["label"] == "cat" and len(log(own)) == 1
    again = decision_log.decide(own, [Wish("a", Kind.RELABEL, "dog")], "ann")
    assert (again.repaired, again.unchanged, len(log(own))) == (1, 1, 1)
    assert samples(own)["a"]["label"] == "dog"


_KILLED = """
import os, signal
from conf import settings as configuration
from lake import row_writer
from organize.review import decision_log
from organize.review.decisions import Kind, Wish
row_writer.{name} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
wishes = [Wish("a", Kind.RELABEL, "dog"), Wish("b", Kind.KEEP)]
decision_log.decide(configuration.load(), wishes, "ann")
"""


@pytest.mark.parametrize("name", ["append", "update"])
def test_sigkill_before_each_commit_leaves_nothing_that_the_next_command_does_not_mend(
    own: Settings, name: str
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED.format(name=name)],
        cwd=ROOT,
        env=os.environ | {"HUB__LAKE__ROOT": own.lake.root},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -9
    decision_log.decide(own, [Wish("a", Kind.RELABEL, "dog"), Wish("b", Kind.KEEP)], "ann")
    found = samples(own)
    assert {each: found[each]["label_source"] for each in "abc"} == {
        "a": "corrected", "b": "checked", "c": "claimed",
    }  # fmt: skip
    assert [row["image_id"] for row in log(own)] in (["a", "b"], ["b", "a"])
