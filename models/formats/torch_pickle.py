"""An unpickler for PyTorch files: tensors and dictionaries, numbers and strings, and nothing else.

It needs no PyTorch: tensors become views of storages, whose numbers lie elsewhere in the file.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from models.errors import UnusableWeights

MAX_BYTES = 2**20  # of a pickle: it names tensors, at about 150 bytes each, and has none of their numbers

DTYPES = {
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "ShortStorage": np.dtype("<i2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
}

# Operations that PyTorch writes in pickle protocols 2 to 4. Others allocate or call more than is needed here.
OPERATIONS = frozenset(
    pickle.PROTO + pickle.FRAME + pickle.STOP + pickle.MARK + pickle.NONE + pickle.NEWTRUE + pickle.NEWFALSE
    + pickle.BININT + pickle.BININT1 + pickle.BININT2 + pickle.LONG1 + pickle.BINFLOAT
    + pickle.BINUNICODE + pickle.SHORT_BINUNICODE + pickle.EMPTY_TUPLE + pickle.TUPLE + pickle.TUPLE1
    + pickle.TUPLE2 + pickle.TUPLE3 + pickle.EMPTY_LIST + pickle.APPEND + pickle.APPENDS + pickle.EMPTY_DICT
    + pickle.SETITEM + pickle.SETITEMS + pickle.BINPUT + pickle.LONG_BINPUT + pickle.MEMOIZE + pickle.BINGET
    + pickle.LONG_BINGET + pickle.BINPERSID + pickle.GLOBAL + pickle.STACK_GLOBAL + pickle.REDUCE
    + pickle.BUILD
)  # fmt: skip


class _Fixed:
    """Something that a pickle can name, but not change."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> NoReturn:
        refuse(f"it changes a {type(self).__name__.strip('_').lower()}")


@dataclass(frozen=True)
class Storage(_Fixed):
    """A row of numbers in the file; tensors are views of it.

    Args:
        key: names it within the file.
        dtype: of its numbers.
        size: how many numbers it has.
    """

    key: str
    dtype: np.dtype[Any]
    size: int


@dataclass(frozen=True)
class View(_Fixed):
    """A tensor as the pickle gives it, unchecked. Offset and strides count numbers, not bytes."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


class Unpickler(pickle._Unpickler):
    """Loads one pickle. It is Python's own implementation: the one in C allocates what a pickle asks for.

    Args:
        file: that is read up to the end of the pickle.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(_Limited(file))

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name in the pickle."""
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) not in _ALLOWED:
            refuse(f"it names {shown(f'{module}.{name}')}, and only tensors are allowed")
        return _Maker(_ALLOWED[module, name])

    def persistent_load(self, pid: Any) -> Storage:
        """Return a storage from ("storage", type, key, device, size); older files add None."""
        kind, dtype, key, _, size, *part = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str) or any(part):
            refuse(f"it has a storage of an unknown kind, {shown(kind)} {shown(key)}")
        return Storage(key, dtype, count(size))


class _Operations(dict[int, Any]):
    def __missing__(self, code: int) -> NoReturn:
        refuse(f"it has the pickle operation {code:#04x}, which no tensor needs")


Unpickler.dispatch = _Operations(
    {code: load for code, load in pickle._Unpickler.dispatch.items() if code in OPERATIONS}
)


class _Dictionary(OrderedDict[Any, Any]):
    """PyTorch adds versions of layers to the state of the dictionary (`_metadata`); they are not read."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Maker(_Fixed):
    """A function that a pickle may call."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_gradient_and_hooks: Any) -> View:
    return View(storage, offset, shape, strides)


def _rebuild_parameter(view: Any, *_gradient_and_hooks: Any) -> Any:
    return view


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _Dictionary,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Limited:
    """A file from which at most `MAX_BYTES` are read."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file, self._left = file, MAX_BYTES

    def read(self, size: int) -> bytes:
        return self._counted(self._file.read(min(size, self._left + 1)))

    def readline(self) -> bytes:
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            refuse(f"its pickle has more than {MAX_BYTES} bytes")
        return data


def count(value: Any) -> int:
    """Check that a value is a number of things."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**48:
        refuse(f"it has {shown(value)} for a number of values")
    return value


def shown(value: Any) -> str:
    """A value for a message; one that may be nested is named by its type."""
    text = repr(value) if isinstance(value, str | int) else f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}…"


def refuse(cause: str) -> NoReturn:
    """Raise `UnusableWeights`."""
    raise UnusableWeights(cause)
