"""The rule of `lake.pictures.orientation` in TensorFlow operations: how pictures are turned upright."""

import struct
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lake.pictures.jpeg_codec import FRAME_MARKERS, STANDALONE_MARKERS, START_OF_SCAN
from lake.pictures.orientation import TAG, TYPES, UPRIGHT

_PREFIX, _PREFIXES = b"Exif\0\0", 2  # some programs write it twice
_NO_TYPE = 0
_LARGE = [kind for kind, layout in TYPES.items() if struct.calcsize(f"={layout}") > 4]
_FRACTIONS = [kind for kind, layout in TYPES.items() if len(layout) == 2]
_FLOAT, _DOUBLE = (next(kind for kind, layout in TYPES.items() if layout == name) for name in "fd")
_BYTES = np.array([struct.calcsize(f"={TYPES.get(kind, 'B')[0]}") for kind in range(max(TYPES) + 1)])


def _weights() -> NDArray[np.int64]:
    """Weights of eight bytes for the integer at their start: by type, and by order, first big."""
    weights = np.zeros((len(_BYTES), 2, 8), np.int64)
    for kind in set(TYPES) - {_FLOAT, _DOUBLE}:
        powers = 256 ** np.arange(_BYTES[kind])
        weights[kind, 0, : _BYTES[kind]], weights[kind, 1, : _BYTES[kind]] = powers[::-1], powers
    return weights


def exif_in_segments(content: Any) -> tuple[Any, Any]:
    """The first Exif block of a JPEG, and whether it has four channels without an Adobe segment.

    The walk is that of `lake.pictures.jpeg_codec.read_headers`.
    """
    data = tf.io.decode_raw(content, tf.uint8)
    size = tf.size(data)

    def head(at: Any) -> Any:
        return tf.cast(data[at : at + 10], tf.int32)

    def goes_on(at: Any, *_: Any) -> Any:
        first = data[at : at + 2]
        return (
            (at + 10 <= size) & tf.reduce_all(first[:1] == 0xFF) & tf.reduce_all(first[1:] != START_OF_SCAN)
        )

    def step(at: Any, exif: Any, components: Any, is_adobe: Any) -> tuple[Any, ...]:
        numbers = head(at)
        marker, length = numbers[1], numbers[2] * 256 + numbers[3]
        length = tf.where(
            _is_one_of(marker, sorted(STANDALONE_MARKERS)), tf.where(marker == 0xFF, -1, 0), length
        )
        name = tf.strings.substr(content, at + 4, 6)
        block = tf.strings.substr(content, at + 4, tf.maximum(length - 2, 0))
        return (
            at + 2 + length,
            tf.where((marker == 0xE1) & (name == _PREFIX) & (exif == b""), block, exif),
            tf.where(_is_one_of(marker, sorted(FRAME_MARKERS)), numbers[9], components),
            is_adobe | ((marker == 0xEE) & (tf.strings.substr(name, 0, 5) == b"Adobe")),
        )

    begin = (tf.constant(2), tf.constant(b""), tf.constant(0), tf.constant(False))
    _, exif, components, is_adobe = tf.while_loop(goes_on, step, begin)
    return exif, (components == 4) & ~is_adobe


def exif_in_chunks(content: Any, is_webp: Any, has_exif: Any) -> Any:
    """The body of the first chunk with EXIF in a PNG or a WebP, string (); empty if there is none.

    In a WebP the name of a chunk precedes its length; in a PNG it follows, and a checksum ends the chunk.
    """
    size = tf.cast(tf.strings.length(content), tf.int64)
    wanted = tf.where(is_webp, b"EXIF", b"eXIf")

    def goes_on(at: Any, found: Any) -> Any:
        return (at + 8 <= size) & (found == b"")

    def step(at: Any, found: Any) -> tuple[Any, Any]:
        first, second = tf.strings.substr(content, at, 4), tf.strings.substr(content, at + 4, 4)
        little = tf.io.decode_raw(second, tf.int32, little_endian=True)[0]
        length = tf.where(is_webp, little, tf.io.decode_raw(first, tf.int32, little_endian=False)[0])
        length = tf.cast(length, tf.int64) & 0xFFFFFFFF
        body = tf.strings.substr(content, at + 8, length)
        found = tf.where(tf.where(is_webp, first, second) == wanted, body, found)
        return at + 8 + length + tf.where(is_webp, length % 2, 4), found

    start = tf.where(has_exif, tf.where(is_webp, 12, 8), tf.cast(size, tf.int32))
    return tf.while_loop(goes_on, step, (tf.cast(start, tf.int64), tf.constant(b"")))[1]


def tag_of(exif: Any) -> Any:
    """The orientation in an EXIF block, int32 (), 1 to 8; 1 if there is none or it is invalid.

    Args:
        exif: string (); empty if the picture has none.
    """
    for _ in range(_PREFIXES):
        start = tf.where(tf.strings.substr(exif, 0, 6) == _PREFIX, 6, 0)
        exif = tf.strings.substr(exif, start, -1)
    head = tf.strings.substr(exif, 0, 4)
    is_tiff = (head == b"II*\0") | (head == b"MM\0*")
    return tf.cond(is_tiff, lambda: _tag_of_tiff(exif), lambda: UPRIGHT)


def _tag_of_tiff(exif: Any) -> Any:
    data = tf.io.decode_raw(exif, tf.uint8)
    size = tf.size(data)
    little = data[0] == ord("I")

    def integers(places: Any, width: int) -> Any:
        """Unsigned integers at positions, int64; anything if they are outside."""
        raw = tf.gather(data, tf.clip_by_value(places[..., None] + np.arange(width), 0, size - 1))
        powers = 256 ** np.arange(width)
        return tf.reduce_sum(tf.cast(raw, tf.int64) * tf.where(little, powers, powers[::-1]), -1)

    def place(number: Any) -> Any:
        return tf.cast(tf.minimum(number, 2**31 - 2**20), tf.int32)

    directory = place(integers(tf.constant(4), 4))
    count = tf.cast(integers(directory, 2), tf.int32)
    entries = directory + 2 + 12 * tf.range(tf.minimum(count, size // 12 + 1))
    entries = tf.boolean_mask(entries, entries + 12 <= size)
    entry = tf.boolean_mask(entries, integers(entries, 2) == TAG)[:1]
    kind = tf.cast(integers(entry + 2, 2), tf.int32)
    kind = tf.where((integers(entry + 4, 4) == 1) & (kind < len(_BYTES)), kind, _NO_TYPE)
    is_large = tf.reduce_any(kind[:, None] == _LARGE, 1)
    start = tf.where(is_large, place(integers(entry + 8, 4)), entry + 8)
    stop = start + tf.gather(_BYTES.astype(np.int32), kind) * tf.where(_is_one_of(kind, _FRACTIONS), 2, 1)
    kind = tf.where(stop <= size, kind, _NO_TYPE)
    raw = tf.gather(data, tf.clip_by_value(start[:, None] + np.arange(8), 0, size - 1))
    value = _number(raw, kind, little)
    valid = (value >= 1) & (value <= 8) & (value == tf.floor(value))
    value = tf.cast(tf.boolean_mask(value, valid), tf.int32)
    return tf.concat([value, [UPRIGHT]], 0)[0]


def _number(raw: Any, kind: Any, little: Any) -> Any:
    """The number of a type in eight bytes, (n, 8) to float64 (n,)."""
    weights = tf.gather(_weights(), kind)[:, tf.cast(little, tf.int32)]
    # The second half is what a fraction is divided by.
    halves = tf.cast(tf.stack([raw, tf.roll(raw, 4, 1)]), tf.int64)
    numbers = tf.cast(tf.reduce_sum(halves * weights, -1), tf.float64)
    value = tf.where(_is_one_of(kind, _FRACTIONS), numbers[0] / numbers[1], numbers[0])
    ordered = tf.where(little, raw, raw[:, ::-1])
    single = tf.bitcast(tf.where(little, ordered[:, :4], ordered[:, 4:]), tf.float32)
    value = tf.where(kind == _FLOAT, tf.cast(single, tf.float64), value)
    return tf.where(kind == _DOUBLE, tf.bitcast(ordered, tf.float64), value)


def _is_one_of(value: Any, numbers: Any) -> Any:
    return tf.reduce_any(tf.convert_to_tensor(value)[..., None] == tf.constant(numbers), -1)


def turn_upright(rgb: Any, value: Any) -> Any:
    """Turn pixels (height, width, 3) upright, as `lake.pictures.orientation.turn_upright` does."""
    rgb = tf.cond(_is_one_of(value, (5, 6, 7, 8)), lambda: tf.transpose(rgb, (1, 0, 2)), lambda: rgb)
    rgb = tf.cond(_is_one_of(value, (2, 3, 6, 7)), lambda: rgb[:, ::-1], lambda: rgb)
    return tf.cond(_is_one_of(value, (3, 4, 7, 8)), lambda: rgb[::-1], lambda: rgb)
