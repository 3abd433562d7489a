"""Starting from a model that was trained on pictures of the new test split; no cluster, no TensorFlow."""

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
from models.errors import UnfitStart, UnknownModel
from models.evaluation import artifacts
from models.evaluation.metrics import evaluate
from models.messages import EpochEnded
from models.plan import TrainingPlan
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from models.runs import cluster, leakage
from tests.support import tiny

Made = Callable[..., None]


@pytest.fixture
def own(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake of its own."""
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "lake"))
    return configuration.load()


@pytest.fixture
def made(own: Settings) -> Made:
    """Writes a dataset of 8 pictures for training, 2 for validation, 2 for tests, from picture `first` on."""
    content = tiny.jpeg(tiny.picture(0, np.random.default_rng(1)))

    def write(dataset_id: str, first: int, seed: int = 3) -> None:
        numbers = iter(range(first, first + 12))
        pictures = {
            split: [(f"p{next(numbers)}", number % 4, content) for number in range(count)]
            for split, count in zip(Split, (8, 2, 2), strict=True)
        }
        written = tiny.written(own, dataset_id, tiny.LABELS, pictures, shard_rows=3)
        written.storage.write_json(MANIFEST, replace(written, seed=seed).manifest())

    return write


def trained(own: Settings, model_id: str, dataset_id: str, source: str = "") -> None:
    """The card of a model."""
    model_cards.write(
        own, ModelCard(model_id, dataset_id, "resnet20", 32, tiny.LABELS, plan={"source": source})
    )


def counted(own: Settings, source: str, dataset_id: str = "new") -> int:
    from models.runs.train import load_snapshot

    plan = TrainingPlan.of(own, dataset_id, 1, source=source, architecture="resnet20")
    return leakage.count_leaked(own, plan, load_snapshot(own, dataset_id))


def test_a_start_that_was_trained_on_test_pictures_is_one_line_and_no_cluster(
    own: Settings, made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr(cluster, "start_session", started)
    made("old", 0, seed=7)
    made("new", -9, seed=8)  # held out are p-1 to p2, of which the old one trains on p0 to p2
    trained(own, "m1", "old")
    with pytest.raises(SystemExit) as left:
        run(main, ["--dataset", "new", "--from", "m1", "--workers", "1"])
    error = capsys.readouterr().err
    assert left.value.code == 1 and error.count("\n") == 1
    assert "--from m1: m1 was trained, in dataset old, on 3 of the 4 validation and test pictures" in error
    assert "of dataset new" in error and "`hub organize --seed 7`, or train with --dataset old" in error


def test_chains_are_followed_as_far_as_cards_tell(
    own: Settings, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made("oldest", 0, seed=7)
    made("apart", 100, seed=7)
    made("new", -9, seed=8)
    for model_id, dataset_id, source in (
        ("m0", "oldest", "m9"),
        ("m1", "apart", "m0"),
        ("m2", "new", "m1"),
        ("m3", "apart", "m4"),
        ("m4", "apart", "m3"),
        ("m5", "apart", "m6"),
    ):
        trained(own, model_id, dataset_id, source)
    with pytest.raises(UnfitStart, match="--from m2: m0 was trained, in dataset oldest, on 3 of the 4"):
        counted(own, "m2")
    assert counted(own, "m3") == 0, "a circle ends"
    assert capsys.readouterr().err == ""
    assert counted(own, "m5") == 0
    assert "m5 started from a model that is gone: no model 'm6'" in capsys.readouterr().err
    with pytest.raises(UnknownModel, match="--from: no model 'm7'"):
        counted(own, "m7")


def test_the_same_dataset_and_one_apart_are_started_from_without_a_word(
    own: Settings, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made("new", 0)
    made("apart", 100, seed=9)
    trained(own, "same", "new")
    trained(own, "other", "apart", "same")
    assert counted(own, "same") == counted(own, "other") == counted(own, "") == 0
    assert capsys.readouterr().err == ""


def test_near_copies_that_moved_between_datasets_dealt_alike_are_counted(
    own: Settings, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made("old", 0)
    made("new", -9)
    trained(own, "m1", "old")
    assert counted(own, "m1") == 3
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "on 3 of the 4 validation and test pictures of dataset new: near" in told


def test_a_dataset_that_is_gone_is_told_and_stands_in_no_way(
    own: Settings, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made("new", 0)
    trained(own, "m1", "gone")
    assert counted(own, "m1") == 0
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "whether m1 has seen test pictures: no readable snapshot at" in told


def test_their_number_stands_among_the_model_s_figures(own: Settings, made: Made) -> None:
    from models.runs.train import TrainedModel, _write, load_snapshot

    made("new", 0)
    trained(own, "m2", "new", "m1")
    nothing = np.zeros(0, np.int32)
    judged = evaluate(tiny.LABELS, (), nothing, nothing, np.zeros(0))
    plan = TrainingPlan.of(own, "new", 1, source="m1", architecture="resnet20")
    history = (EpochEnded(0, 1, 1.0, 0.5, 1.1, 0.4, 0.1, 2.0, 90.0),)
    model = TrainedModel("m2", "", plan, history, judged, 1, 8, 90.0, 0.1, 2.0, 1.0, None, 1.0)
    files = model_cards.artifacts(own, "m2")
    for seen in (3, 0):
        _write(own, files, load_snapshot(own, "new"), model, seen)
        assert files.read_json(artifacts.METRICS).get("overlap", 0) == seen
