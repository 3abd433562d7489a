"""`hub models` as a user types it: list, show, compare, export, use, retire; without Spark."""

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
from jobs.hub import hub as whole
from lake import row_writer
from lake.schemas import Table
from lake.spark import session
from models.errors import UnknownModel
from models.evaluation import artifacts
from models.inference import catalogue
from models.messages import EpochEnded
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.registry.model_cards import ModelCard, State
from tests.support import colours

Said = tuple[int, Any, str]
OLD, NEW, BROKEN = "resnet20-20261120-0800-aaaa", "resnet20-20261121-0900-bbbb", "resnet20-20261121-1000-cccc"


@pytest.fixture
def own(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake with two ready models and a failed one, and no Spark."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("Spark was started")

    monkeypatch.setattr(session, "start", started)
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "lake"))
    made = configuration.load()
    for day, (model_id, accuracy) in enumerate(((OLD, 0.91), (NEW, 0.945)), start=20):
        trained(made, model_id, accuracy, f"2026-11-{day}T08:00:00+00:00")
    card = ModelCard(
        BROKEN, "ds-1", "resnet20", 32, ("a", "b"), state=State.TRAINING, created="2026-11-21T10"
    )
    model_cards.write(made, card)
    model_cards.fail(made, BROKEN, "worker 1: the loss is nan")
    return made


def trained(settings: Settings, model_id: str, accuracy: float, created: str) -> None:
    """What a training run leaves that `hub models` reads."""
    plan = TrainingPlan.of(settings, "ds-1", 2, epochs=3, seed=11)
    colours.model(
        settings, model_id, created=created, accuracy=accuracy, seconds=75.4, workers=2,
        plan=asdict(plan), code_version="0.1.0+abc",
    )  # fmt: skip
    files = model_cards.artifacts(settings, model_id)
    history = [
        EpochEnded(0, n, 1 / n, 0.3 * n, 1.1 / n, accuracy * n / 3, 0.1, 20.0, 900.0) for n in (1, 2, 3)
    ]
    artifacts.write_run(files, list(colours.COLOURS), history)
    figures = {"test_accuracy": accuracy, "test_accuracy_low": accuracy - 0.02, "test_top5": 0.99}
    figures |= {"test_accuracy_high": accuracy + 0.02, "seconds": 75.4, "cpu_seconds": 120.5}
    files.write_json(artifacts.METRICS, figures)


@pytest.fixture
def said(own: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs `hub …` in this process: exit status, its JSON or text, and standard error."""

    def call(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as left:
            run(whole, list(arguments))
        captured = capsys.readouterr()
        text = json.loads(captured.out) if "--json" in arguments and captured.out else captured.out
        assert isinstance(left.value.code, int)
        return left.value.code, text, captured.err

    return call


def test_models_are_listed_newest_first_with_what_became_of_them(said: Callable[..., Said]) -> None:
    status, found, _ = said("models", "--json")
    assert status == 0 and found["in_use"] is None
    rows = [(row["model_id"], row["state"], row["accuracy"]) for row in found["models"]]
    assert rows == [(BROKEN, "failed", None), (NEW, "ready", 0.945), (OLD, "ready", 0.91)]
    _, text, _ = said("models")
    assert "94.50%" in text and "1 min 15 s" in text and text.index(NEW) < text.index(OLD)
    _, ready, _ = said("models", "list", "--state", "failed", "--json")
    assert [row["detail"] for row in ready["models"]] == ["worker 1: the loss is nan"]
    assert said("models", "--dataset", "ds-2", "--json")[1]["models"] == []


def test_a_lake_without_models_says_so(
    said: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "empty"))
    assert said("models") == (0, "no models; `hub train` makes one\n", "")


def test_a_model_is_shown_with_where_it_comes_from(said: Callable[..., Said]) -> None:
    status, found, _ = said("models", "show", NEW, "--json")
    assert status == 0 and found["settings"]["seed"] == 11 and found["code_version"] == "0.1.0+abc"
    assert found["figures"]["cpu_seconds"] == 120.5 and found["epochs"] == 3 and found["workers"] == 2
    assert artifacts.CURVES in found["files"]
    _, text, _ = said("models", "show", BROKEN)
    assert "failed: worker 1: the loss is nan" in text
    status, _, error = said("models", "show", "nothing")
    assert status == 1 and error.count("\n") == 1
    assert f"no model 'nothing': the newest are {NEW}, {OLD}" in error  # what failed is of no use


def test_models_are_compared_in_a_table_and_one_picture(said: Callable[..., Said], tmp_path: Path) -> None:
    png = tmp_path / "out" / "both.png"
    status, text, _ = said("models", "compare", OLD, NEW, "--png", str(png))
    assert status == 0 and "91.00% (89.00%–93.00%)" in text and str(png) in text
    assert Image.open(png).width == 1680
    _, found, _ = said("models", "compare", NEW, BROKEN, "--png", str(png), "--json")
    assert [row["model_id"] for row in found["models"]] == [NEW, BROKEN]
    for wrong in ([NEW], [NEW, NEW]):
        status, _, error = said("models", "compare", *wrong)
        assert status == 2 and "name two models or more" in error


def test_curves_of_each_model_are_in_the_picture(own: Settings) -> None:
    both, one = (
        Image.open(io.BytesIO(catalogue.picture([catalogue.entry(own, name) for name in names])))
        for names in ((OLD, NEW), (OLD,))
    )
    second = (0xD9, 0x5F, 0x02)  # the second model's colour
    assert second in {color for _, color in both.convert("RGB").getcolors(2**24) or []}
    assert second not in {color for _, color in one.convert("RGB").getcolors(2**24) or []}


def test_the_model_in_use_is_marked_and_taken_where_none_is_named(
    said: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "red.jpg").write_bytes(colours.jpeg("red"))
    status, _, error = said("predict", str(tmp_path / "red.jpg"))
    assert status == 1 and "no model is in use: name one with --model" in error
    assert said("models", "use", OLD)[0] == 0
    _, found, _ = said("models", "--json")
    assert found["in_use"] == OLD
    assert [row["model_id"] for row in found["models"] if row["in_use"]] == [OLD]
    status, answered, _ = said("predict", str(tmp_path / "red.jpg"), "--json")
    assert status == 0 and answered["model_id"] == OLD
    assert [row["label"] for row in answered["predictions"]] == ["red"]
    assert said("models", "use", "--none")[0] == 0
    assert said("models", "--json")[1]["in_use"] is None
    assert said("models", "use")[0] == said("models", "use", OLD, "--none")[0] == 2


@pytest.mark.parametrize(
    ("state", "detail", "reason"),
    [
        (State.RETIRED, "", "is retired: name another, or `hub models retire"),
        (State.TRAINING, "", "is still being trained"),
        (State.FAILED, "the disk is full", "has failed: the disk is full"),
    ],
)
def test_a_model_that_is_not_ready_is_refused_by_every_command(
    own: Settings, said: Callable[..., Said], state: State, detail: str, reason: str, tmp_path: Path
) -> None:
    model_cards.mark(own, OLD, state, detail)
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
        status, out, error = said(*arguments)
        assert status == 1 and out == "" and error.count("\n") == 1, arguments
        assert f"model {OLD} {reason}" in error, arguments
    assert not (tmp_path / "out").exists()


def test_retiring_takes_effect_at_once_but_not_on_the_model_in_use(own: Settings) -> None:
    for model_id in (OLD, NEW, BROKEN):
        row_writer.append(own, Table.MODELS, {"model_id": model_id, "state": "ready"})
    catalogue.use(own, NEW)
    assert catalogue.retire(own, OLD).state is State.RETIRED
    assert catalogue.retire(own, OLD, undo=True).state is State.READY
    with pytest.raises(Exception, match=r"is in use: `hub models use` another first"):
        catalogue.retire(own, NEW)
    with pytest.raises(Exception, match="is failed, not ready"):
        catalogue.retire(own, BROKEN)
    assert model_cards.card(own, NEW).state is State.READY


@pytest.mark.parametrize("name", [f"{OLD}/", f"./{OLD}", f"../artifacts/{OLD}", f"{OLD}\n", "", ".", ".."])
def test_what_is_no_plain_id_names_no_model(own: Settings, name: str) -> None:
    for call in (model_cards.any_card, model_cards.card, catalogue.use, catalogue.retire):
        with pytest.raises(UnknownModel, match=r"^no model .*: the newest are") as raised:
            call(own, name)
        assert "\n" not in str(raised.value)
    assert catalogue.in_use(own) is None


def test_paths_are_told_as_unknown_models(said: Callable[..., Said]) -> None:
    status, _, error = said("models", "use", f"{OLD}/")
    assert status == 1 and error.count("\n") == 1
    assert f"no model '{OLD}/': the newest are {NEW}, {OLD}" in error


def test_ids_of_one_minute_have_32_bits_to_differ_in() -> None:
    made = model_rows.new_id("resnet20")
    assert re.fullmatch(r"resnet20-\d{8}-\d{4}-[0-9a-f]{8}", made)


def test_cards_of_older_hubs_are_those_of_ready_models(own: Settings) -> None:
    old = {
        "model_id": "resnet20-20260101-0000-0000",
        "dataset_id": "d",
        "architecture": "resnet20",
        "side": 32,
    }
    files = model_cards.artifacts(own, "resnet20-20260101-0000-0000")
    files.write_json(model_cards.CARD, old | {"labels": ["a", "b"], "objective": "labels"})
    found = model_cards.card(own, "resnet20-20260101-0000-0000")
    assert found.state is State.READY and found.accuracy is None
    assert model_cards.listed(own)[-1] == found
    files.write(model_cards.CARD, b"{ not JSON")
    assert found not in model_cards.listed(own)
    with pytest.raises(UnknownModel):
        model_cards.card(own, found.model_id)
