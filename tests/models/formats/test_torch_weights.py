"""PyTorch files without PyTorch: both formats, strides and offsets; hostile and damaged files are refused."""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import UnusableWeights
from models.formats import torch_weights
from models.formats.torch_pickle import MAX_BYTES


@dataclass(frozen=True)
class Name:
    """A name in a pickle, as `torch._utils._rebuild_tensor_v2`; it need not exist here."""

    module: str
    name: str

    def __call__(self, *_: Any) -> None:
        """Pickle wants something that can be called."""


@dataclass(frozen=True)
class Stored:
    """A storage: its type, key and number of values."""

    kind: str
    key: Any
    size: Any


@dataclass(frozen=True)
class Call:
    """A call that the pickle asks for, and the state that it then sets."""

    function: Any
    arguments: Any
    state: Any = None


PythonPickler: Any = pickle._Pickler  # its types are not declared


class Pickler(PythonPickler):
    """Writes pickles with names that exist only in PyTorch."""

    dispatch = PythonPickler.dispatch.copy()

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Stored):
            return "storage", Name("torch", obj.kind), obj.key, "cpu", obj.size
        return None

    def _save_name(self, obj: Name) -> None:
        if self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    def _save_call(self, obj: Call) -> None:
        self.save_reduce(obj.function, obj.arguments, obj.state)

    dispatch[Name] = _save_name
    dispatch[Call] = _save_call


REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
PARAMETER = Name("torch._utils", "_rebuild_parameter")


def view(stored: Any, offset: Any, shape: Any, strides: Any) -> Call:
    return Call(REBUILD, (stored, offset, shape, strides, False, OrderedDict()))


def pickled(content: Any, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    Pickler(file, protocol).dump(content)
    return file.getvalue()


Storages = dict[str, NDArray[Any]]


def as_zip(pickle_bytes: bytes, storages: Storages, **members: bytes) -> bytes:
    """The format since PyTorch 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("weights/data.pkl", pickle_bytes)
        for name, content in members.items():
            archive.writestr(f"weights/{name}", content)
        for key, values in storages.items():
            archive.writestr(f"weights/data/{key}", values.tobytes())
        archive.writestr("weights/version", "3\n")
    return file.getvalue()


SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def as_pickles(pickle_bytes: bytes, storages: Storages, protocol: int = 1001, system: Any = SYSTEM) -> bytes:
    """The format before PyTorch 1.6."""
    parts = [pickled(torch_weights.MAGIC), pickled(protocol), pickled(system), pickle_bytes]
    parts.append(pickled(list(storages)))
    parts += [len(values).to_bytes(8, "little") + values.tobytes() for values in storages.values()]
    return b"".join(parts)


FORMATS = [as_zip, as_pickles]
Format = Callable[[bytes, Storages], bytes]
NUMBERS = np.arange(24, dtype="<f4")


def read(content: bytes) -> dict[str, NDArray[Any]]:
    return {tensor.name: tensor.values for tensor in torch_weights.read(content)}


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("write", FORMATS)
def test_views_have_their_strides_and_offsets(write: Format, protocol: int) -> None:
    one, two = Stored("FloatStorage", "one", 24), Stored("LongStorage", "two", 3)
    named = OrderedDict(
        whole=view(one, 0, (2, 3, 4), (12, 4, 1)),
        transposed=view(one, 0, (4, 3, 2), (1, 4, 12)),
        part=view(one, 5, (2, 2), (12, 3)),
        scalar=view(two, 2, (), ()),
        parameter=Call(PARAMETER, (view(one, 20, (4,), (1,)), True, OrderedDict())),
        empty=view(one, 24, (0, 5), (5, 1)),
        name_of_æ=view(two, 0, (1, 3), (3, 1)),
    )
    found = read(write(pickled(named, protocol), {"one": NUMBERS, "two": np.array([5, 6, -7], "<i8")}))
    assert list(found) == list(named)
    assert all(values.flags.c_contiguous and values.flags.writeable for values in found.values())
    whole = NUMBERS.reshape(2, 3, 4)
    assert np.array_equal(found["whole"], whole)
    assert np.array_equal(found["transposed"], whole.T)
    assert found["part"].tolist() == [[5, 8], [17, 20]]
    assert found["scalar"].shape == () and found["scalar"] == -7
    assert found["parameter"].tolist() == [20, 21, 22, 23]
    assert found["empty"].shape == (0, 5)
    assert found["name_of_æ"].dtype == np.int64


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("BoolStorage", "?"), ("ByteStorage", "u1"), ("CharStorage", "i1"), ("ShortStorage", "<i2"),
        ("IntStorage", "<i4"), ("LongStorage", "<i8"), ("HalfStorage", "<f2"), ("FloatStorage", "<f4"),
        ("DoubleStorage", "<f8"),
    ],
)  # fmt: skip
def test_all_types_of_numbers_are_read(kind: str, dtype: str) -> None:
    values = np.array([0, 1, 1], dtype)
    found = read(as_zip(pickled({"a": view(Stored(kind, "0", 3), 0, (3,), (1,))}), {"0": values}))
    assert found["a"].dtype == np.dtype(dtype) and found["a"].tolist() == values.tolist()


@pytest.mark.parametrize("write", FORMATS)
def test_versions_of_layers_beside_the_tensors_are_passed_over(write: Format) -> None:
    tensor = view(Stored("FloatStorage", "one", 24), 0, (24,), (1,))
    metadata = {"_metadata": OrderedDict({"": {"version": 1}}), "items": "hides the method"}
    # As PyTorch writes it: an OrderedDict, its state, then its items.
    body = pickle.EMPTY_TUPLE + pickle.REDUCE + pickled(metadata)[2:-1] + pickle.BUILD
    entries = pickle.MARK + pickled("a")[2:-1] + pickled(tensor)[2:-1] + pickle.SETITEMS + pickle.STOP
    content = pickle.PROTO + b"\2" + pickle.GLOBAL + b"collections\nOrderedDict\n" + body + entries
    assert np.array_equal(read(write(content, {"one": NUMBERS}))["a"], NUMBERS)


# --- Hostile pickles ----------------------------------------------------------------------------------


def raw(operations: bytes) -> bytes:
    return pickle.PROTO + b"\4" + operations + pickle.STOP


def short(text: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(text)]) + text.encode()


def calls(module: str, name: str, argument: str) -> bytes:
    return raw(
        short(module) + short(name) + pickle.STACK_GLOBAL + short(argument) + pickle.TUPLE1 + pickle.REDUCE
    )


ONE = Stored("FloatStorage", "one", 24)
HOSTILE = {
    "system": pickled({"a": Call(Name("posix", "system"), ("touch canary",))}),
    "system, protocol 4": calls("os", "system", "touch canary"),
    "eval": calls("builtins", "eval", "open('canary', 'w')"),
    "method of an allowed class": calls("collections", "OrderedDict.fromkeys", "abc"),
    "attribute of a module": calls("torch._utils", "os.system", "touch canary"),
    "torch.load": calls("torch", "load", "canary"),
    "another storage": pickled({"a": view(Stored("UntypedStorage", "one", 24), 0, (24,), (1,))}),
    "a called type": calls("torch", "FloatStorage", "24"),
    "an older tensor function": pickled({"a": Call(Name("torch._utils", "_rebuild_tensor"), (ONE,))}),
    "inst": b"(S'touch canary'\nios\nsystem\n.",
    "obj": raw(pickle.MARK + short("os") + short("system") + pickle.STACK_GLOBAL + short("x") + pickle.OBJ),
    "newobj": raw(
        short("collections") + short("OrderedDict") + pickle.STACK_GLOBAL + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    ),
    "extension": raw(pickle.EXT1 + b"\1"),
    "huge bytes": raw(pickle.BYTEARRAY8 + (2**40).to_bytes(8, "little")),
    "huge text": raw(pickle.BINUNICODE8 + (2**40).to_bytes(8, "little")),
    "huge frame": raw(pickle.FRAME + (2**40).to_bytes(8, "little")),
    "huge memo": raw(pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\xff"),
    "text id": raw(pickle.PERSID + b"storage\n"),
    "changed function": pickled({"a": Call(REBUILD, (ONE, 0, (24,), (1,)), {"storage": "x"})}),
    "changed name": raw(
        short("torch._utils") + short("_rebuild_tensor_v2") + pickle.STACK_GLOBAL
        + pickle.EMPTY_DICT + short("__doc__") + short("x") + pickle.SETITEM + pickle.BUILD
    ),
    "strange kind": pickled({"a": view(("storage",), 0, (24,), (1,))}),
    "strange key": pickled({"a": view(Stored("FloatStorage", 7, 24), 0, (24,), (1,))}),
    "negative size": pickled({"a": view(Stored("FloatStorage", "one", -24), 0, (24,), (1,))}),
    "text for a size": pickled({"a": view(Stored("FloatStorage", "one", "24"), 0, (24,), (1,))}),
    "too few arguments": pickled({"a": Call(REBUILD, (ONE,))}),
    "long": raw(pickle.BINUNICODE + (MAX_BYTES).to_bytes(4, "little") + b"a" * MAX_BYTES),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("write", FORMATS)
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    write: Format, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnusableWeights) as raised:
        torch_weights.read(write(HOSTILE[name], {"one": NUMBERS}))
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 300
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_allowed_is_quoted() -> None:
    with pytest.raises(UnusableWeights, match=r"it names 'os\.system', and only tensors are allowed"):
        torch_weights.read(as_zip(HOSTILE["system, protocol 4"], {}))


def test_a_hostile_file_changes_nothing_for_the_next_one() -> None:
    for content in HOSTILE.values():
        with pytest.raises(UnusableWeights):
            torch_weights.read(as_zip(content, {"one": NUMBERS}))
    good = pickled({"a": view(ONE, 0, (24,), (1,))})
    assert np.array_equal(read(as_zip(good, {"one": NUMBERS}))["a"], NUMBERS)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (24,), (1,)),
        (25, (), ()),
        (0, (25,), (1,)),
        (0, (2, 12), (13, 1)),
        (0, (2**40,), (0,)),  # as many as one likes of one number
        (0, (5, 5), (0, 1)),
        (0, (2**31, 2**31, 4), (0, 0, 0)),
        (-1, (2,), (1,)),
        (23, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, [2], [1]),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (2**70, (1,), (1,)),
        ("0", (1,), (1,)),
        (0, (1,) * 100, (1,) * 100),
    ],
)
@pytest.mark.parametrize("write", FORMATS)
def test_a_view_beyond_its_storage_is_refused(write: Format, offset: Any, shape: Any, strides: Any) -> None:
    with pytest.raises(UnusableWeights):
        torch_weights.read(write(pickled({"a": view(ONE, offset, shape, strides)}), {"one": NUMBERS}))


# --- Other files --------------------------------------------------------------------------------------

GOOD = {"a": view(ONE, 0, (4, 6), (1, 4))}
OTHER_TYPE = view(Stored("LongStorage", "one", 12), 0, (12,), (1,))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "it is no PyTorch file"),
        (b"no weights", "it is no PyTorch file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "it is no PyTorch file"),
        (pickled(7), "it is no PyTorch file"),
        (as_pickles(pickled(GOOD), {"one": NUMBERS}, protocol=1002), "its protocol is 1002"),
        (as_pickles(pickled(GOOD), {"one": NUMBERS}, system={"little_endian": False}), "little-endian"),
        (as_pickles(pickled(GOOD), {"one": NUMBERS}, system=[]), "little-endian"),
        (as_pickles(pickled(GOOD), {"one": NUMBERS, "two": NUMBERS}), "storage 'two' that no tensor has"),
        (as_pickles(pickled(GOOD), {}), "has no numbers"),
        (as_pickles(pickled(GOOD), {"one": NUMBERS[:20]}), "has 20 float32 numbers, not 24"),
        (as_zip(pickled(GOOD), {}), "no item named"),
        (as_zip(pickled(GOOD), {"one": NUMBERS[:20]}), "has 20 float32 numbers, not 24"),
        (as_zip(pickled(GOOD), {"one": NUMBERS}, byteorder=b"big"), "little-endian"),
        (as_zip(pickled(GOOD), {"one": NUMBERS}, **{"code/data.pkl": b""}), "2 members data.pkl"),
        (as_zip(pickled([1, 2]), {}), "has a list, not a dictionary of tensors"),
        (as_zip(pickled({"epoch": 3} | GOOD), {"one": NUMBERS}), "its entry 'epoch' is a int, not a tensor"),
        (as_zip(pickled({"state_dict": GOOD}), {"one": NUMBERS}), "its entry 'state_dict' is a dict"),
        (as_zip(pickled({7: GOOD["a"]}), {"one": NUMBERS}), "its entry 7"),
        (as_zip(pickled(GOOD | {"b": OTHER_TYPE}), {"one": NUMBERS}), "storage 'one' has"),
    ],
)  # fmt: skip
def test_what_is_no_dictionary_of_tensors_is_refused_with_the_cause(content: bytes, cause: str) -> None:
    with pytest.raises(UnusableWeights, match=cause):
        torch_weights.read(content)


def test_a_compressed_archive_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/data.pkl", pickled(GOOD))
        archive.writestr("weights/data/one", bytes(2**24))
    with pytest.raises(UnusableWeights, match="compressed"):
        torch_weights.read(file.getvalue())


@pytest.mark.parametrize("write", FORMATS)
def test_a_damaged_file_is_refused_or_read_and_nothing_else(write: Format) -> None:
    content = write(pickled(GOOD), {"one": NUMBERS})
    for end in range(len(content)):
        with pytest.raises(UnusableWeights):
            torch_weights.read(content[:end])
    random = np.random.default_rng(8)
    for _ in range(2000):
        changed = bytearray(content)
        for place in random.integers(0, len(content), 3):
            changed[place] = random.integers(256)
        try:
            torch_weights.read(bytes(changed))
        except UnusableWeights as error:
            assert "\n" not in str(error)
