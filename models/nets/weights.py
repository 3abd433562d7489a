"""Weights from files of Keras, of any age, into our ResNets."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import UnfitStart
from models.plan import Pixels

SUFFIXES = (".h5", ".hdf5")


def load(model: Any, architecture: str, path: Path) -> None:
    """Load a weights file, HDF5 of Keras 1 to 3, with or without top, into a model of an architecture.

    Keras' own readers do the work; they match layers by order, so names may differ.

    Raises:
        UnfitStart: it is no such file, or of other shapes.
    """
    from models.nets.resnet import ARCHITECTURES, features, logits

    legacy, classes = _layout(path)
    whole = ARCHITECTURES[architecture].build(logits(classes or 1), Pixels.UNIT)
    target = whole if classes else features(whole)
    with tempfile.TemporaryDirectory() as folder:
        # Keras tells the formats apart by the name alone.
        named = Path(folder) / ("file.h5" if legacy else "file.weights.h5")
        named.symlink_to(path.resolve())
        # Keras passes over parts of a file that it does not know with a warning; this is how it shows.
        for variable in target.variables:
            variable.assign(np.full(variable.shape, np.nan))
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                target.load_weights(named)
            left = [v.path for v in target.variables if np.isnan(v.numpy()).any()]
            if left:
                raise ValueError(f"it has nothing for {len(left)} variables, {left[0]} the first")
        except (ValueError, KeyError, OSError) as error:
            raise UnfitStart(
                f"--weights {path} does not fit {architecture}: {' '.join(str(error).split())[:200]}"
            ) from None
    copy(whole, model, f"--weights {path}", head=bool(classes))


def _layout(path: Path) -> tuple[bool, int]:
    """Whether the file is of Keras before 3, and the classes of its top, 0 for none."""
    import h5py

    if not path.is_file():
        raise UnfitStart(f"--weights {path} is not there")
    if path.suffix not in SUFFIXES:
        raise UnfitStart(
            f"--weights {path}: must be an .h5 file of Keras weights (a .keras model goes to --from)"
        )
    shapes: list[tuple[int, ...]] = []
    try:
        with h5py.File(path, "r") as file:
            legacy = "layer_names" in file.attrs or "model_weights" in file
            file.visititems(lambda _, item: shapes.append(getattr(item, "shape", ())))
    except OSError:
        raise UnfitStart(f"--weights {path} is no HDF5 file") from None
    tops = [shape[1] for shape in shapes if len(shape) == 2]
    if not shapes or len(tops) > 1:
        raise UnfitStart(f"--weights {path} holds {len(tops)} dense layers, a ResNet has one or none")
    return legacy, tops[0] if tops else 0


def copy(source: Any, target: Any, what: str, head: bool) -> None:
    """Copy the variables of all layers but the head, and of the head too where asked and where it fits.

    Raises:
        UnfitStart: the layers before the head have other shapes.
    """
    from models.nets.resnet import features

    theirs, ours = features(source).variables, features(target).variables
    shapes = [(tuple(a.shape), tuple(b.shape)) for a, b in zip(theirs, ours, strict=False)]
    if len(theirs) != len(ours) or any(a != b for a, b in shapes):
        raise UnfitStart(
            f"{what} does not fit {target.name}: its variables have other shapes than the {len(ours)} needed"
        )
    top = list(zip(source.variables[len(theirs) :], target.variables[len(ours) :], strict=False))
    if not head or any(a.shape != b.shape for a, b in top):
        top = []
    for ours_one, value in [(b, a) for a, b in [*zip(theirs, ours, strict=True), *top]]:
        ours_one.assign(value)
