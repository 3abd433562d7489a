"""`hub models`: list, show, compare, export, use, retire; without Spark."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conf import settings as configuration
from conf.settings import Settings
from jobs.cli.command import run
from jobs.hub import hub as hub_group
from lake import row_writer
from lake.spark import session
from lake.table import Table
from models.errors import UnknownModel
from models.evaluation import artifacts
from models.inference import catalogue
from models.messages import EpochEnded
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.registry.model_cards import ModelCard, State
from tests.support import colours

Output = tuple[int, Any, str]  # exit status, JSON or text, standard error
OLD, NEW, BROKEN = "resnet20-20261120-0800-aaaa", "resnet20-20261121-0900-bbbb", "resnet20-20261121-1000-cccc"


@pytest.fixture
def own(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a lake with two ready models and a failed one; starting Spark fails the test."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("Spark was started")

    monkeypatch.setattr(session, "start", fail)
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "lake"))
    made = configuration.load()
    for day, (model_id, accuracy) in enumerate(((OLD, 0.91), (NEW, 0.945)), start=20):
        write_trained_model(made, model_id, accuracy, f"2026-11-{day}T08:00:00+00:00")
    card = ModelCard(
        BROKEN, "ds-1", "resnet20", 32, ("a", "b"), state=State.TRAINING, created="2026-11-21T10"
    )
    model_cards.write_card(made, card)
    model_cards.mark_failed(made, BROKEN, "worker 1: the loss is nan")
    return made


def write_trained_model(settings: Settings, model_id: str, accuracy: float, created: str) -> None:
    """Write what `hub models` reads of a finished training run."""
    plan = TrainingPlan.of(settings, "ds-1", 2, epochs=3, seed=11)
    colours.model(
        settings, model_id, created=created, accuracy=accuracy, seconds=75.4, workers=2,
        plan=asdict(plan), code_version="0.1.0+abc",
    )  # fmt: skip
    files = model_cards.artifact_storage(settings, model_id)
    history = [
        EpochEnded(0, n, 1 / n, 0.3 * n, 1.1 / n, accuracy * n / 3, 0.1, 20.0, 900.0) for n in (1, 2, 3)
    ]
    artifacts.write_run(files, list(colours.COLOURS), history)
    figures = {"test_accuracy": accuracy, "test_accuracy_low": accuracy - 0.02, "test_top5": 0.99}
    figures |= {"test_accuracy_high": accuracy + 0.02, "seconds": 75.4, "cpu_seconds": 120.5}
    files.write_json(artifacts.METRICS, figures)


@pytest.fixture
def run_hub(own: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[..., Output]:
    """Run `hub …` in this process."""

    def call(*arguments: str) -> Output:
        with pytest.raises(SystemExit) as left:
            run(hub_group, list(arguments))
        captured = capsys.readouterr()
        text = json.loads(captured.out) if "--json" in arguments and captured.out else captured.out
        assert isinstance(left.value.code, int)
        return left.value.code, text, captured.err

    return call


def test_models_are_listed_newest_first_with_state_and_accuracy(run_hub: Callable[..., Output]) -> None:
    status, found, _ = run_hub("models", "--json")
    assert status == 0 and found["in_use"] is None
    rows = [(row["model_id"], row["state"], row["accuracy"]) for row in found["models"]]
    assert rows == [(BROKEN, "failed", None), (NEW, "ready", 0.945), (OLD, "ready", 0.91)]
    _, text, _ = run_hub("models")
    assert "94.50%" in text and "1 min 15 s" in text and text.index(NEW) < text.index(OLD)
    _, ready, _ = run_hub("models", "list", "--state", "failed", "--json")
    assert [row["detail"] for row in ready["models"]] == ["worker 1: the loss is nan"]
    assert run_hub("models", "--dataset", "ds-2", "--json")[1]["models"] == []


def test_a_lake_without_models_says_so(
    run_hub: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "empty"))
    assert run_hub("models") == (0, "no models; `hub train` makes one\n", "")


def test_show_has_settings_code_version_figures_and_files(run_hub: Callable[..., Output]) -> None:
    status, found, _ = run_hub("models", "show", NEW, "--json")
    assert status == 0 and found["settings"]["seed"] == 11 and found["code_version"] == "0.1.0+abc"
    assert found["figures"]["cpu_seconds"] == 120.5 and found["epochs"] == 3 and found["workers"] == 2
    assert artifacts.CURVES in found["files"]
    _, text, _ = run_hub("models", "show", BROKEN)
    assert "failed: worker 1: the loss is nan" in text
    status, _, error = run_hub("models", "show", "nothing")
    assert status == 1 and error.count("\n") == 1
    assert f"no model 'nothing': the newest are {NEW}, {OLD}" in error  # failed models are not suggested


def test_models_are_compared_in_a_table_and_one_picture(
    run_hub: Callable[..., Output], tmp_path: Path
) -> None:
    png = tmp_path / "out" / "both.png"
    status, text, _ = run_hub("models", "compare", OLD, NEW, "--png", str(png))
    assert status == 0 and "91.00% (89.00%–93.00%)" in text and str(png) in text
    assert Image.open(png).width == 1680
    _, found, _ = run_hub("models", "compare", NEW, BROKEN, "--png", str(png), "--json")
    assert [row["model_id"] for row in found["models"]] == [NEW, BROKEN]
    for wrong in ([NEW], [NEW, NEW]):
        status, _, error = run_hub("models", "compare", *wrong)
        assert status == 2 and "name two models or more" in error


def test_curves_of_each_model_are_in_the_picture(own: Settings) -> None:
    both, one = (
        Image.open(io.BytesIO(catalogue.comparison_png([catalogue.load_entry(own, name) for name in names])))
        for names in ((OLD, NEW), (OLD,))
    )
    second = (0xD9, 0x5F, 0x02)  # the second model's colour
    assert second in {color for _, color in both.convert("RGB").getcolors(2**24) or []}
    assert second not in {color for _, color in one.convert("RGB").getcolors(2**24) or []}


def test_the_model_in_use_is_marked_and_is_the_default_of_predict(
    run_hub: Callable[..., Output], tmp_path: Path
) -> None:
    (tmp_path / "red.jpg").write_bytes(colours.jpeg("red"))
    status, _, error = run_hub("predict", str(tmp_path / "red.jpg"))
    assert status == 1 and "no model is in use: name one with --model" in error
    assert run_hub("models", "use", OLD)[0] == 0
    _, found, _ = run_hub("models", "--json")
    assert found["in_use"] == OLD
    assert [row["model_id"] for row in found["models"] if row["in_use"]] == [OLD]
    status, answered, _ = run_hub("predict", str(tmp_path / "red.jpg"), "--json")
    assert status == 0 and answered["model_id"] == OLD
    assert [row["label"] for row in answered["predictions"]] == ["red"]
    assert run_hub("models", "use", "--none")[0] == 0
    assert run_hub("models", "--json")[1]["in_use"] is None
    assert run_hub("models", "use")[0] == run_hub("models", "use", OLD, "--none")[0] == 2


@pytest.mark.parametrize(
    ("state", "detail", "reason"),
    [
        (State.RETIRED, "", "is retired: name another, or `hub models retire"),
        (State.TRAINING, "", "is still being trained"),
        (State.FAILED, "the disk is full", "has failed: the disk is full"),
    ],
)
def test_a_model_that_is_not_ready_is_refused_by_every_command(
    own: Settings, run_hub: Callable[..., Output], state: State, detail: str, reason: str, tmp_path: Path
) -> None:
    model_cards.set_state(own, OLD, state, detail)
    picture = tmp_path / "red.jpg"
    picture.write_bytes(colours.jpeg("red"))
    for arguments in (
        ["predict", "--model", OLD, str(picture)],
        ["predict", "--model", OLD, "--table", "uploads"],
        ["evaluate", "--model", OLD],
        ["models", "export", OLD, "--to", str(tmp_path / "out")],
        ["models", "use", OLD],
        ["train", "--dataset", "ds-1", "--from", OLD],
    ):
        status, out, error = run_hub(*arguments)
        assert status == 1 and out == "" and error.count("\n") == 1, arguments
        assert f"model {OLD} {reason}" in error, arguments
    assert not (tmp_path / "out").exists()


def test_a_model_is_retired_unless_it_is_in_use(own: Settings, run_hub: Callable[..., Output]) -> None:
    for model_id in (OLD, NEW, BROKEN):
        row_writer.append(own, Table.MODELS, {"model_id": model_id, "state": "ready"})
    catalogue.set_in_use(own, NEW)
    assert catalogue.retire(own, OLD).state is State.RETIRED
    _, text, _ = run_hub("models")
    assert OLD not in text and NEW in text and text.endswith("\n1 retired not shown: --state retired\n")
    assert OLD in run_hub("models", "list", "--state", "retired")[1]
    assert OLD in {each["model_id"] for each in run_hub("models", "--json")[1]["models"]}
    assert catalogue.retire(own, OLD, undo=True).state is State.READY
    with pytest.raises(Exception, match=r"is in use: `hub models use` another first"):
        catalogue.retire(own, NEW)
    with pytest.raises(Exception, match="is failed, not ready"):
        catalogue.retire(own, BROKEN)
    assert model_cards.ready_card(own, NEW).state is State.READY


@pytest.mark.parametrize("name", [f"{OLD}/", f"./{OLD}", f"../artifacts/{OLD}", f"{OLD}\n", "", ".", ".."])
def test_paths_and_malformed_ids_are_unknown_models(own: Settings, name: str) -> None:
    for call in (model_cards.any_card, model_cards.ready_card, catalogue.set_in_use, catalogue.retire):
        with pytest.raises(UnknownModel, match=r"^no model .*: the newest are") as raised:
            call(own, name)
        assert "\n" not in str(raised.value)
    assert catalogue.in_use(own) is None


def test_an_unknown_model_is_one_line_with_suggestions(run_hub: Callable[..., Output]) -> None:
    status, _, error = run_hub("models", "use", f"{OLD}/")
    assert status == 1 and error.count("\n") == 1
    assert f"no model '{OLD}/': the newest are {NEW}, {OLD}" in error


def test_model_ids_end_in_32_random_bits() -> None:
    made = model_rows.new_model_id("resnet20")
    assert re.fullmatch(r"resnet20-\d{8}-\d{4}-[0-9a-f]{8}", made)


def test_cards_of_older_versions_count_as_ready(own: Settings) -> None:
    old = {
        "model_id": "resnet20-20260101-0000-0000",
        "dataset_id": "d",
        "architecture": "resnet20",
        "side": 32,
    }
    files = model_cards.artifact_storage(own, "resnet20-20260101-0000-0000")
    files.write_json(model_cards.CARD_FILE, old | {"labels": ["a", "b"], "objective": "labels"})
    found = model_cards.ready_card(own, "resnet20-20260101-0000-0000")
    assert found.state is State.READY and found.accuracy is None
    assert model_cards.all_cards(own)[-1] == found
    files.write(model_cards.CARD_FILE, b"{ not JSON")
    assert found not in model_cards.all_cards(own)
    with pytest.raises(UnknownModel):
        model_cards.ready_card(own, found.model_id)
