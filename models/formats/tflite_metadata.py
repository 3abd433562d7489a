"""What a TFLite file says of itself: names, how to feed it, and its labels, for tools that read them.

The format is that of `metadata_schema.fbs` 1.1.0 (tensorflow/tflite-support): a flatbuffer in a buffer named
TFLITE_METADATA, and the files it names in a zip archive behind the model. The package that writes it wants a
protobuf that TensorFlow no longer takes, so it is written here; see docs/decisions/013.
"""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flatbuffers import Builder

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS = "labels.txt"
PARSER = "1.1.0"  # version of the schema

# Numbers of the schema.
IMAGE_PROPERTIES, FEATURE_PROPERTIES = 2, 1  # union ContentProperties
NORMALIZATION = 1  # union ProcessUnitOptions
RGB = 1  # ColorSpaceType
AXIS_LABELS = 2  # AssociatedFileType


@dataclass(frozen=True)
class Description:
    """What a model's metadata says.

    Args:
        name: of the model.
        text: what it does.
        version: of the model.
        side: of the pictures it takes (pixels).
        labels: in the order of the probabilities; none where it answers embeddings.
    """

    name: str
    text: str
    version: str
    side: int
    labels: tuple[str, ...]


def described(model: bytes, description: Description) -> bytes:
    """A TFLite file with its metadata and label file; still one that every interpreter loads.

    Args:
        model: a TFLite flatbuffer of one input and one output.
        description: to add.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = flatbuffer(description)
    entry.name, entry.buffer = NAME, len(content.buffers)
    content.buffers.append(buffer)
    content.metadata = [*(content.metadata or ()), entry]
    file = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(content)))
    if description.labels:
        with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
            # A fixed time, so that equal models are equal files.
            archive.writestr(zipfile.ZipInfo(LABELS), "".join(f"{label}\n" for label in description.labels))
    return file.getvalue()


def flatbuffer(description: Description) -> bytes:
    """The table ModelMetadata."""
    builder = Builder(1024)
    takes = _vector(builder, [_input(builder, description.side)])
    gives = _vector(builder, [_output(builder, description)])
    graph = _table(builder, 7, {2: takes, 3: gives})
    root = _table(
        builder,
        8,
        {
            0: builder.CreateString(description.name),
            1: builder.CreateString(description.text),
            2: builder.CreateString(description.version),
            3: _vector(builder, [graph]),
            7: builder.CreateString(PARSER),
        },
    )
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def _input(builder: Builder, side: int) -> int:
    size = _table(builder, 2, {0: (side, builder.PrependUint32Slot), 1: (side, builder.PrependUint32Slot)})
    image = _table(builder, 2, {0: (RGB, builder.PrependInt8Slot), 1: size})
    # (x - 0) / 1: scaling is in the model.
    scaling = _table(builder, 2, {0: _floats(builder, [0.0]), 1: _floats(builder, [1.0])})
    unit = _table(builder, 2, {0: (NORMALIZATION, builder.PrependUint8Slot), 1: scaling})
    limits = _table(builder, 2, {0: _floats(builder, [255.0]), 1: _floats(builder, [0.0])})
    return _tensor(
        builder,
        ("rgb", f"A picture, {side} x {side} pixels, RGB 0-255."),
        (IMAGE_PROPERTIES, image),
        {4: _vector(builder, [unit]), 5: limits},
    )


def _output(builder: Builder, description: Description) -> int:
    nothing = _table(builder, 0, {})
    least = 0.0 if description.labels else -1.0
    limits = _table(builder, 2, {0: _floats(builder, [1.0]), 1: _floats(builder, [least])})
    if not description.labels:
        said = ("embedding", "A vector of length 1; near ones show the same.")
        return _tensor(builder, said, (FEATURE_PROPERTIES, nothing), {5: limits})
    file = _table(
        builder,
        4,
        {
            0: builder.CreateString(LABELS),
            1: builder.CreateString("The label of each probability, one a line."),
            2: (AXIS_LABELS, builder.PrependInt8Slot),
        },
    )
    said = ("probability", "Of each label, in the order of labels.txt.")
    return _tensor(builder, said, (FEATURE_PROPERTIES, nothing), {5: limits, 6: _vector(builder, [file])})


def _tensor(builder: Builder, said: tuple[str, str], properties: tuple[int, int], more: "Fields") -> int:
    kind, value = properties
    content = _table(builder, 2, {0: (kind, builder.PrependUint8Slot), 1: value})
    name, text = (builder.CreateString(part) for part in said)
    return _table(builder, 7, {0: name, 1: text, 3: content, **more})


Scalar = tuple[int, Callable[[int, int, int], None]]
Fields = dict[int, int | Scalar]


def _table(builder: Builder, slots: int, fields: Fields) -> int:
    """A table of the schema: slot number to the offset of what was written before, or to a scalar."""
    builder.StartObject(slots)
    for slot, value in fields.items():
        if isinstance(value, tuple):
            value[1](slot, value[0], 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Builder, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
