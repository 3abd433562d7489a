"""Reads the tensors of a PyTorch file (.pth) without PyTorch; nothing in the file can run code.

Formats, as `torch/serialization.py` writes them: a zip archive (PyTorch 1.6 and later), and five pickles with
the values behind them (before 1.6).
"""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UnusableWeights
from models.formats.torch_pickle import Storage, Unpickler, View, count, refuse, shown

MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of the older format
PROTOCOL = 1001  # second pickle of the older format

Numbers = Mapping[str, NDArray[Any]]  # of each storage, by its key


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file.

    Args:
        name: as `stem.conv.weight`.
        values: of its shape, contiguous.
    """

    name: str
    values: NDArray[Any]


def read(content: bytes) -> tuple[Tensor, ...]:
    """Read a state dictionary: the tensors of a PyTorch file, in its order.

    Raises:
        UnusableWeights: it is no such file, is damaged, or has anything but tensors.
    """
    try:
        is_zip = content.startswith(b"PK")
        views, numbers = _read_zip(content) if is_zip else _read_pickles(content)
        return tuple(Tensor(name, _values(view, numbers)) for name, view in views)
    except UnusableWeights:
        raise
    except Exception as error:  # a file that was made to harm can raise almost anything
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnusableWeights(f"it is no PyTorch file, or damaged: {cause}") from None


Named = tuple[tuple[str, View], ...]


def _read_zip(content: bytes) -> tuple[Named, Numbers]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        compressed = [info.filename for info in archive.infolist() if info.compress_type]
        if compressed:
            refuse(f"its member {shown(compressed[0])} is compressed, which PyTorch does not do")
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            refuse(f"it has {len(pickles)} members data.pkl, not one")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            refuse("its numbers are not little-endian")
        views = _views(Unpickler(io.BytesIO(archive.read(pickles[0]))).load())
        numbers = {
            key: np.frombuffer(archive.read(f"{folder}data/{key}"), storage.dtype)
            for key, storage in _storages(views).items()
        }
    return views, numbers


def _read_pickles(content: bytes) -> tuple[Named, Numbers]:
    file = io.BytesIO(content)
    if not content.startswith(b"\x80") or Unpickler(file).load() != MAGIC:
        refuse("it is no PyTorch file")
    if (protocol := Unpickler(file).load()) != PROTOCOL:
        refuse(f"its protocol is {shown(protocol)}, not {PROTOCOL}")
    system = Unpickler(file).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        refuse("its numbers are not little-endian")
    views = _views(Unpickler(file).load())
    storages = _storages(views)
    numbers = {}
    for key in Unpickler(file).load():
        if key not in storages:
            refuse(f"it has numbers of a storage {shown(key)} that no tensor has")
        size = int.from_bytes(file.read(8), "little")
        numbers[key] = np.frombuffer(file.read(size * storages[key].dtype.itemsize), storages[key].dtype)
    return views, numbers


def _views(loaded: Any) -> Named:
    """Check that a pickle is a dictionary of tensors; of a checkpoint, the message says what else it has."""
    if not isinstance(loaded, dict):
        refuse(f"it has a {type(loaded).__name__}, not a dictionary of tensors")
    for name, value in loaded.items():
        if not isinstance(value, View) or not isinstance(name, str):
            refuse(f"its entry {shown(name)} is a {type(value).__name__}, not a tensor")
    return tuple(loaded.items())


def _storages(views: Named) -> Mapping[str, Storage]:
    for name, view in views:
        if not isinstance(view.storage, Storage):
            refuse(f"tensor {name} has a {type(view.storage).__name__} for its storage")
    return {view.storage.key: view.storage for _, view in views}


def _values(view: View, numbers: Numbers) -> NDArray[Any]:
    """The values of a tensor: strides and offset are honoured, and lie within the storage."""
    storage: Storage = view.storage
    values = numbers.get(storage.key)
    if values is None or len(values) != storage.size or values.dtype != storage.dtype:
        found = "no" if values is None else f"{len(values)} {values.dtype}"
        refuse(f"storage {shown(storage.key)} has {found} numbers, not {storage.size} {storage.dtype}")
    offset, shape, strides = count(view.offset), _counts(view.shape), _counts(view.strides)
    size = math.prod(shape)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if size > storage.size or (size and last >= storage.size):
        refuse(f"a tensor of shape {shape} exceeds its storage of {storage.size} numbers")
    if not size:
        return np.empty(shape, storage.dtype)
    steps = tuple(stride * storage.dtype.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(values[offset:], shape, steps).copy(order="C")


def _counts(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(value) > 8:
        refuse(f"it has {shown(value)} for a shape")
    return tuple(count(each) for each in value)
