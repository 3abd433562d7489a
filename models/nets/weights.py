"""Load Keras HDF5 weights files (Keras 1 to 3) into our ResNets, and copy weights between models."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from conf.choices import Pixels
from models.architectures import ARCHITECTURES
from models.errors import UnusableInitialWeights

SUFFIXES = (".h5", ".hdf5")


def load(model: Any, architecture: str, path: Path) -> None:
    """Load a Keras weights file, with or without top, into a model of the architecture.

    Keras' own readers are used; they match layers by order, so layer names may differ.

    Raises:
        UnusableInitialWeights: the file is not a weights file, or its shapes differ.
    """
    from models.nets.heads import feature_extractor, logits

    legacy, classes = _inspect(path)
    full = ARCHITECTURES[architecture].build(logits(classes or 1), Pixels.UNIT)
    target = full if classes else feature_extractor(full)
    with tempfile.TemporaryDirectory() as folder:
        # Keras detects the format only by the file name.
        link = Path(folder) / ("file.h5" if legacy else "file.weights.h5")
        link.symlink_to(path.resolve())
        # Keras skips unknown parts of a file with a warning only; variables that stay NaN were not loaded.
        for variable in target.variables:
            variable.assign(np.full(variable.shape, np.nan))
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                target.load_weights(link)
            missing = [v.path for v in target.variables if np.isnan(v.numpy()).any()]
            if missing:
                raise ValueError(f"it has no values for {len(missing)} variables, the first is {missing[0]}")
        except (ValueError, KeyError, OSError) as error:
            raise UnusableInitialWeights(
                f"--weights {path} does not fit {architecture}: {' '.join(str(error).split())[:200]}"
            ) from None
    copy(full, model, f"--weights {path}", head=bool(classes))


def _inspect(path: Path) -> tuple[bool, int]:
    """Whether the file has the format of Keras 1 and 2, and the number of classes of its top, 0 for none."""
    import h5py

    if not path.is_file():
        raise UnusableInitialWeights(f"--weights {path} does not exist")
    if path.suffix not in SUFFIXES:
        raise UnusableInitialWeights(
            f"--weights {path}: must be an .h5 file of Keras weights (a .keras model goes to --from)"
        )
    shapes: list[tuple[int, ...]] = []
    try:
        with h5py.File(path, "r") as file:
            legacy = "layer_names" in file.attrs or "model_weights" in file
            file.visititems(lambda _, item: shapes.append(getattr(item, "shape", ())))
    except OSError:
        raise UnusableInitialWeights(f"--weights {path} is not an HDF5 file") from None
    tops = [shape[1] for shape in shapes if len(shape) == 2]
    if not shapes or len(tops) > 1:
        raise UnusableInitialWeights(
            f"--weights {path} has {len(tops)} dense layers; a ResNet has one or none"
        )
    return legacy, tops[0] if tops else 0


def copy(source: Any, target: Any, what: str, head: bool) -> None:
    """Copy all variables before the head; with `head` also those of the head, if their shapes match.

    Raises:
        UnusableInitialWeights: the variables before the head differ in number or shape.
    """
    from models.nets.heads import feature_extractor

    theirs, ours = feature_extractor(source).variables, feature_extractor(target).variables
    shapes = [(tuple(a.shape), tuple(b.shape)) for a, b in zip(theirs, ours, strict=False)]
    if len(theirs) != len(ours) or any(a != b for a, b in shapes):
        raise UnusableInitialWeights(
            f"{what} does not fit {target.name}: its variables differ in number or shape "
            f"from the {len(ours)} needed"
        )
    of_head = list(zip(source.variables[len(theirs) :], target.variables[len(ours) :], strict=False))
    if not head or any(a.shape != b.shape for a, b in of_head):
        of_head = []
    for value, variable in [*zip(theirs, ours, strict=True), *of_head]:
        variable.assign(value)
