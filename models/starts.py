"""What a run's variables start from: a weights file or nothing.

Resolved on the driver, before any cluster time is spent, and handed to the workers as one file of arrays.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from lake.storage import Storage
from models import weights
from models.native import stderr_to
from models.plan import Pixels, TrainingPlan

FILE = "start.npz"  # beside the run's artifacts


@dataclass(frozen=True)
class Start:
    """The variables of a model, head included, in the order of the plain model's."""

    values: tuple[NDArray[Any], ...]

    def write(self, artifacts: Storage) -> None:
        """Leave it where the workers look for it."""
        file = io.BytesIO()
        np.savez(file, *self.values)
        artifacts.write(FILE, file.getvalue())


def read(artifacts: Storage) -> Start:
    """The start that the driver has left."""
    with np.load(io.BytesIO(artifacts.read(FILE)), allow_pickle=False) as arrays:
        return Start(tuple(arrays[f"arr_{number}"] for number in range(len(arrays.files))))


def resolved(
    settings: Settings, plan: TrainingPlan, labels: Sequence[str]
) -> tuple[TrainingPlan, Start | None]:
    """The plan with what its start implies, and the start's values.

    A head is taken over from a weights file if its shape fits; otherwise it is new. `Pixels` that the plan
    leaves open follow the start.

    Raises:
        UnfitStart: shapes differ, or the file cannot be read.
    """
    if not plan.weights:
        return replace(plan, pixels=plan.pixels or Pixels.UNIT), None
    with stderr_to(settings.logs.dir / "tensorflow.out"):
        return _from_weights(plan, labels)


def _from_weights(plan: TrainingPlan, labels: Sequence[str]) -> tuple[TrainingPlan, Start]:
    published = Pixels.CAFFE if plan.architecture == "resnet50" else Pixels.UNIT
    plan = replace(plan, pixels=plan.pixels or published)
    model = built(plan, len(labels))
    weights.load(model, plan.architecture, Path(plan.weights))
    return plan, Start(tuple(variable.numpy() for variable in model.variables))


def built(plan: TrainingPlan, classes: int) -> Any:
    """A new model of the plan for so many labels."""
    import keras

    from models.resnet import ARCHITECTURES, logits

    keras.utils.set_random_seed(plan.seed)
    return ARCHITECTURES[plan.architecture].build(logits(classes), Pixels(plan.pixels or Pixels.UNIT))
