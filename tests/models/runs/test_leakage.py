"""Initial models that were trained on pictures of the new test split; no cluster, no TensorFlow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conf import settings as configuration
from conf.settings import Settings
from jobs.cli.command import run
from jobs.train import main
from lake.snapshot import MANIFEST, Split
from models.errors import UnknownModel, UnusableInitialWeights
from models.evaluation import artifacts
from models.evaluation.metrics import evaluate
from models.messages import EpochEnded
from models.plan import TrainingPlan
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from models.runs import cluster, leakage
from models.runs.time_shares import TimeShares
from tests.support import tiny

SnapshotWriter = Callable[..., None]


@pytest.fixture
def own(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake of its own."""
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "lake"))
    return configuration.load()


@pytest.fixture
def write_dataset(own: Settings) -> SnapshotWriter:
    """Function that writes a dataset of 8, 2 and 2 pictures per split, numbered from `first` on."""
    content = tiny.jpeg(tiny.picture(0, np.random.default_rng(1)))

    def write(dataset_id: str, first: int, seed: int = 3) -> None:
        numbers = iter(range(first, first + 12))
        pictures = {
            split: [(f"p{next(numbers)}", number % 4, content) for number in range(count)]
            for split, count in zip(Split, (8, 2, 2), strict=True)
        }
        written = tiny.write_snapshot(own, dataset_id, tiny.LABELS, pictures, shard_rows=3)
        written.storage.write_json(MANIFEST, replace(written, seed=seed).manifest())

    return write


def write_card(own: Settings, model_id: str, dataset_id: str, source: str = "") -> None:
    """The card of a model."""
    model_cards.write_card(
        own, ModelCard(model_id, dataset_id, "resnet20", 32, tiny.LABELS, plan={"source": source})
    )


def count_leaked(own: Settings, source: str, dataset_id: str = "new") -> int:
    from models.runs.train import load_snapshot

    plan = TrainingPlan.of(own, dataset_id, 1, source=source, architecture="resnet20")
    return leakage.count_leaked(own, plan, load_snapshot(own, dataset_id))


def test_a_leak_is_an_error_of_one_line_before_any_cluster_starts(
    own: Settings,
    write_dataset: SnapshotWriter,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr(cluster, "start_session", started)
    write_dataset("old", 0, seed=7)
    write_dataset("new", -9, seed=8)  # evaluation pictures are p-1 to p2; the old model trained on p0 to p2
    write_card(own, "m1", "old")
    with pytest.raises(SystemExit) as left:
        run(main, ["--dataset", "new", "--from", "m1", "--workers", "1"])
    error = capsys.readouterr().err
    assert left.value.code == 1 and error.count("\n") == 1
    assert "--from m1: m1 was trained, in dataset old, on 3 of the 4 validation and test pictures" in error
    assert "of dataset new" in error and "trained after that, or train with --dataset old" in error


def test_ancestors_are_followed_as_far_as_model_cards_go(
    own: Settings, write_dataset: SnapshotWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset("oldest", 0, seed=7)
    write_dataset("apart", 100, seed=7)
    write_dataset("new", -9, seed=8)
    for model_id, dataset_id, source in (
        ("m0", "oldest", "m9"),
        ("m1", "apart", "m0"),
        ("m2", "new", "m1"),
        ("m3", "apart", "m4"),
        ("m4", "apart", "m3"),
        ("m5", "apart", "m6"),
    ):
        write_card(own, model_id, dataset_id, source)
    with pytest.raises(
        UnusableInitialWeights, match="--from m2: m0 was trained, in dataset oldest, on 3 of the 4"
    ):
        count_leaked(own, "m2")
    assert count_leaked(own, "m3") == 0, "a cycle ends"
    assert capsys.readouterr().err == ""
    assert count_leaked(own, "m5") == 0
    assert "m5 started from a model that does not exist any more: no model 'm6'" in capsys.readouterr().err
    with pytest.raises(UnknownModel, match="--from: no model 'm7'"):
        count_leaked(own, "m7")


def test_the_same_dataset_and_a_disjoint_one_give_no_warning(
    own: Settings, write_dataset: SnapshotWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset("new", 0)
    write_dataset("apart", 100, seed=9)
    write_card(own, "same", "new")
    write_card(own, "other", "apart", "same")
    assert count_leaked(own, "same") == count_leaked(own, "other") == count_leaked(own, "") == 0
    assert capsys.readouterr().err == ""


def test_near_copies_that_changed_split_are_counted(
    own: Settings, write_dataset: SnapshotWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset("old", 0)
    write_dataset("new", -9)
    write_card(own, "m1", "old")
    assert count_leaked(own, "m1") == 3
    warning = capsys.readouterr().err
    assert (
        warning.count("\n") == 1
        and "on 3 of the 4 validation and test pictures of dataset new: near" in warning
    )


def test_a_missing_dataset_is_a_warning_only(
    own: Settings, write_dataset: SnapshotWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset("new", 0)
    write_card(own, "m1", "gone")
    assert count_leaked(own, "m1") == 0
    warning = capsys.readouterr().err
    assert (
        warning.count("\n") == 1
        and "whether m1 was trained on test pictures: no readable dataset snapshot at" in warning
    )


def test_the_number_of_leaked_pictures_is_in_the_metrics_file(
    own: Settings, write_dataset: SnapshotWriter
) -> None:
    from models.runs.train import TrainedModel, _write_metrics, load_snapshot

    write_dataset("new", 0)
    write_card(own, "m2", "new", "m1")
    nothing = np.zeros(0, np.int32)
    judged = evaluate(tiny.LABELS, (), nothing, nothing, np.zeros(0))
    plan = TrainingPlan.of(own, "new", 1, source="m1", architecture="resnet20")
    history = (EpochEnded(0, 1, 1.0, 0.5, 1.1, 0.4, 0.1, 2.0, 90.0),)
    model = TrainedModel(
        "m2", "", plan, history, judged, 1, 8, 90.0, 0.1, TimeShares.of(history), 2.0, 1.0, None, 1.0
    )
    files = model_cards.artifact_storage(own, "m2")
    for seen in (3, 0):
        _write_metrics(own, files, load_snapshot(own, "new"), model, seen)
        assert files.read_json(artifacts.METRICS).get("overlap", 0) == seen
