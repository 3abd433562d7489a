"""TFRecord files of tf.train.Example, with the names of TensorFlow's image classification examples.

Source: https://www.tensorflow.org/tutorials/load_data/tfrecord, section "TFRecord format details".
"""

import io
import struct
from collections.abc import Iterator
from typing import Any

import crc32c

from lake.snapshot import DatasetSnapshot, Split
from models.inference.export_target import File
from organize.datasets.exports.pictures import Picture, shards

_MASK_DELTA = 0xA282EAD8


def files(snapshot: DatasetSnapshot) -> Iterator[File]:
    """`<split>-<shard>-of-<shards>.tfrecord`: image/encoded, image/format, image/class/label and more."""
    for split in Split:
        total = len(snapshot.shards.get(split, ()))
        for number, (_, pictures) in enumerate(shards(snapshot, split)):
            content = io.BytesIO()
            for picture in pictures:
                _write_record(content, _example(picture).SerializeToString(deterministic=True))
            yield f"{split}-{number:05d}-of-{total:05d}.tfrecord", content.getvalue()


def _example(picture: Picture) -> Any:
    import tensorflow as tf

    def of_bytes(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "image/encoded": of_bytes(picture.jpeg),
        "image/format": of_bytes(b"jpeg"),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[picture.index])),
        "image/class/text": of_bytes(picture.label.encode()),
        "image/id": of_bytes(picture.image_id.encode()),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def _write_record(file: io.BytesIO, data: bytes) -> None:
    """Write length, masked CRC of the length, data, masked CRC of the data; numbers are little-endian."""
    length = struct.pack("<Q", len(data))
    file.write(length + _masked_crc(length) + data + _masked_crc(data))


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c.crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)
