"""TFLite metadata: names, input normalization and labels in a TFLite file, for tools that read them.

Format: `metadata_schema.fbs` 1.1.0 (tensorflow/tflite-support), a flatbuffer in a buffer named
TFLITE_METADATA; associated files are in a zip archive appended to the model. The package tflite-support needs
a protobuf version that TensorFlow does not support, so the format is written here;
see docs/decisions/013-model-export.md.
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

# Values of unions and enums of the schema.
IMAGE_PROPERTIES, FEATURE_PROPERTIES = 2, 1  # union ContentProperties
NORMALIZATION = 1  # union ProcessUnitOptions
RGB = 1  # ColorSpaceType
AXIS_LABELS = 2  # AssociatedFileType


@dataclass(frozen=True)
class Metadata:
    """Metadata of a model.

    Args:
        name: of the model.
        text: description of the model.
        version: of the model.
        side: of the input pictures (pixels).
        labels: in the order of the probabilities; empty for an embedding model.
    """

    name: str
    text: str
    version: str
    side: int
    labels: tuple[str, ...]


def add_metadata(model: bytes, metadata: Metadata) -> bytes:
    """Add metadata and the label file to a TFLite file; every interpreter still loads it.

    Args:
        model: a TFLite flatbuffer of one input and one output.
        metadata: to add.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = to_flatbuffer(metadata)
    entry.name, entry.buffer = NAME, len(content.buffers)
    content.buffers.append(buffer)
    content.metadata = [*(content.metadata or ()), entry]
    file = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(content)))
    if metadata.labels:
        with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
            # ZipInfo has a fixed date, so that equal models give equal files.
            archive.writestr(zipfile.ZipInfo(LABELS), "".join(f"{label}\n" for label in metadata.labels))
    return file.getvalue()


def to_flatbuffer(metadata: Metadata) -> bytes:
    """Encode the metadata as the table ModelMetadata of the schema."""
    builder = Builder(1024)
    inputs = _vector(builder, [_input(builder, metadata.side)])
    outputs = _vector(builder, [_output(builder, metadata)])
    graph = _table(builder, 7, {2: inputs, 3: outputs})
    root = _table(
        builder,
        8,
        {
            0: builder.CreateString(metadata.name),
            1: builder.CreateString(metadata.text),
            2: builder.CreateString(metadata.version),
            3: _vector(builder, [graph]),
            7: builder.CreateString(PARSER),
        },
    )
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def _input(builder: Builder, side: int) -> int:
    size = _table(builder, 2, {0: (side, builder.PrependUint32Slot), 1: (side, builder.PrependUint32Slot)})
    image = _table(builder, 2, {0: (RGB, builder.PrependInt8Slot), 1: size})
    # Mean 0, deviation 1: the model scales pixels itself.
    scaling = _table(builder, 2, {0: _floats(builder, [0.0]), 1: _floats(builder, [1.0])})
    unit = _table(builder, 2, {0: (NORMALIZATION, builder.PrependUint8Slot), 1: scaling})
    limits = _table(builder, 2, {0: _floats(builder, [255.0]), 1: _floats(builder, [0.0])})
    return _tensor(
        builder,
        ("rgb", f"A picture, {side} x {side} pixels, RGB 0-255."),
        (IMAGE_PROPERTIES, image),
        {4: _vector(builder, [unit]), 5: limits},
    )


def _output(builder: Builder, metadata: Metadata) -> int:
    empty = _table(builder, 0, {})
    minimum = 0.0 if metadata.labels else -1.0
    limits = _table(builder, 2, {0: _floats(builder, [1.0]), 1: _floats(builder, [minimum])})
    if not metadata.labels:
        name_and_text = ("embedding", "A vector of length 1; near ones show the same.")
        return _tensor(builder, name_and_text, (FEATURE_PROPERTIES, empty), {5: limits})
    file = _table(
        builder,
        4,
        {
            0: builder.CreateString(LABELS),
            1: builder.CreateString("The label of each probability, one a line."),
            2: (AXIS_LABELS, builder.PrependInt8Slot),
        },
    )
    name_and_text = ("probability", "Of each label, in the order of labels.txt.")
    return _tensor(
        builder, name_and_text, (FEATURE_PROPERTIES, empty), {5: limits, 6: _vector(builder, [file])}
    )


def _tensor(
    builder: Builder, name_and_text: tuple[str, str], properties: tuple[int, int], more_fields: "Fields"
) -> int:
    kind, value = properties
    content = _table(builder, 2, {0: (kind, builder.PrependUint8Slot), 1: value})
    name, text = (builder.CreateString(part) for part in name_and_text)
    return _table(builder, 7, {0: name, 1: text, 3: content, **more_fields})


Scalar = tuple[int, Callable[[int, int, int], None]]
Fields = dict[int, int | Scalar]


def _table(builder: Builder, slots: int, fields: Fields) -> int:
    """Write a table; fields map a slot number to a scalar or to the offset of an object written before."""
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
