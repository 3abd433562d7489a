"""What a run's variables start from: a weights file, a trained model, or nothing.

Resolved on the driver, before any cluster time is spent, and handed to the workers as one file of arrays.
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

from conf.settings import Settings
from lake.storage import Storage
from models.errors import UnfitStart, UnknownModel
from models.native_output import stderr_to
from models.nets import weights
from models.plan import SIDES, Pixels, TrainingPlan
from models.registry import model_cards

FILE = "start.npz"  # beside the run's artifacts


@dataclass(frozen=True)
class InitialWeights:
    """The variables of a model, head included, in the order of the plain model's."""

    values: tuple[NDArray[Any], ...]

    def write(self, artifacts: Storage) -> None:
        """Leave it where the workers look for it."""
        file = io.BytesIO()
        np.savez(file, *self.values)
        artifacts.write(FILE, file.getvalue())


def read(artifacts: Storage) -> InitialWeights:
    """The start that the driver has left."""
    with np.load(io.BytesIO(artifacts.read(FILE)), allow_pickle=False) as arrays:
        return InitialWeights(tuple(arrays[f"arr_{number}"] for number in range(len(arrays.files))))


def architecture_of(settings: Settings, source: str) -> str:
    """The architecture of what `--from` names, without loading it.

    Raises:
        UnknownModel: it is neither a .keras file nor a ready model.
        UnfitStart: the file is none, or of an architecture that the hub does not have.
    """
    if not _is_file(source):
        return _card(settings, source).architecture
    name = _configuration(Path(source)).get("config", {}).get("name", "")
    if name not in SIDES:
        raise UnfitStart(f"--from {source}: its architecture {name!r} is none of {', '.join(SIDES)}")
    return str(name)


def ancestors(settings: Settings, source: str) -> Iterator[model_cards.ModelCard]:
    """The model that `--from` names, the one that it started from, and so on; a .keras file tells none.

    Raises:
        UnknownModel, UnusableModel: the first is none that is ready; of others that are gone a line says so.
    """
    if _is_file(source):
        return
    card = _card(settings, source)
    seen: set[str] = set()
    while card.model_id not in seen:
        yield card
        seen.add(card.model_id)
        before = str(card.plan.get("source") or "")
        if not before or _is_file(before):
            return
        try:
            card = model_cards.any_card(settings, before)
        except UnknownModel as error:
            print(f"{card.model_id} started from a model that is gone: {error}", file=sys.stderr)
            return


def resolved(
    settings: Settings, plan: TrainingPlan, labels: Sequence[str]
) -> tuple[TrainingPlan, InitialWeights | None]:
    """The plan with what its start implies, and the start's values.

    A head is taken over from a weights file if its shape fits, from a trained model if its labels are the
    dataset's; otherwise it is new. `Pixels` that the plan leaves open follow the start.

    Raises:
        UnknownModel: `--from` names nothing.
        UnfitStart: shapes or architecture differ, or the file cannot be read.
    """
    if not plan.source and not plan.weights:
        return replace(plan, pixels=plan.pixels or Pixels.UNIT), None
    with stderr_to(settings.logs.dir / "tensorflow.out"):
        return _from_source(settings, plan, labels) if plan.source else _from_weights(plan, labels)


def _from_weights(plan: TrainingPlan, labels: Sequence[str]) -> tuple[TrainingPlan, InitialWeights]:
    published = Pixels.CAFFE if plan.architecture == "resnet50" else Pixels.UNIT
    plan = replace(plan, pixels=plan.pixels or published)
    model = built(plan, len(labels))
    weights.load(model, plan.architecture, Path(plan.weights))
    return plan, InitialWeights(tuple(variable.numpy() for variable in model.variables))


def _from_source(
    settings: Settings, plan: TrainingPlan, labels: Sequence[str]
) -> tuple[TrainingPlan, InitialWeights]:
    found = architecture_of(settings, plan.source)
    if found != plan.architecture:
        raise UnfitStart(f"--from {plan.source} is a {found}, not a {plan.architecture}: leave --arch out")
    card = None if _is_file(plan.source) else _card(settings, plan.source)
    theirs = _loaded(settings, plan.source)
    caffe = any(layer.name == "caffe" for layer in theirs.layers)
    plan = replace(plan, pixels=plan.pixels or (Pixels.CAFFE if caffe else Pixels.UNIT))
    model = built(plan, len(labels))
    kept = card is not None and card.objective == plan.objective and tuple(labels) == card.labels
    weights.copy(theirs, model, f"--from {plan.source}", head=kept)
    return plan, InitialWeights(tuple(variable.numpy() for variable in model.variables))


def built(plan: TrainingPlan, classes: int) -> Any:
    """A new model of the plan, its head by the objective."""
    import keras

    from models.nets.resnet import ARCHITECTURES, embedding, logits

    keras.utils.set_random_seed(plan.seed)
    head = embedding(plan.embedding) if plan.objective == "triplet" else logits(classes)
    return ARCHITECTURES[plan.architecture].build(head, Pixels(plan.pixels or Pixels.UNIT))


def _is_file(source: str) -> bool:
    return source.endswith(".keras") or Path(source).is_file()


def _configuration(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as file:
            configuration: dict[str, Any] = json.loads(file.read("config.json"))
    except FileNotFoundError:
        raise UnfitStart(f"--from {path} is not there") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise UnfitStart(
            f"--from {path} is no .keras file (an .h5 file of weights goes to --weights)"
        ) from None
    return configuration


def _card(settings: Settings, model_id: str) -> model_cards.ModelCard:
    try:
        return model_cards.card(settings, model_id)
    except UnknownModel as error:
        raise UnknownModel(f"--from: {error}, or name a .keras file") from None


def _loaded(settings: Settings, source: str) -> Any:
    import keras

    from models.formats.export import KERAS

    with tempfile.TemporaryDirectory() as folder:
        path = Path(source)
        if not _is_file(source):
            path = Path(folder) / KERAS
            path.write_bytes(model_cards.artifacts(settings, source).read(KERAS))
        try:
            return keras.models.load_model(path, compile=False)
        except (ValueError, TypeError, OSError) as error:
            raise UnfitStart(
                f"--from {source} cannot be loaded: {' '.join(str(error).split())[:200]}"
            ) from None
