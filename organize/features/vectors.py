"""Vectors in memory and as the table `embeddings` stores them; no Spark, no TensorFlow."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from organize.errors import UnusableVectors

STORED = np.dtype("<f2")  # float16, little-endian
Vectors = NDArray[np.float32]


def to_unit(vectors: NDArray[np.floating]) -> Vectors:
    """Scale vectors, (n, d), to length 1, so that their dot product is their cosine; zeros stay zeros."""
    wide = vectors.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)


def to_column(vectors: Vectors) -> pa.BinaryArray:
    """Vectors, (n, d), as a column of `embeddings`: float16, little-endian, 2 d bytes each."""
    rows = np.ascontiguousarray(vectors, STORED)
    return pa.array([row.tobytes() for row in rows], pa.binary())


def to_vectors(column: pa.Array | pa.ChunkedArray | Sequence[bytes]) -> Vectors:
    """A column of `embeddings` as float32 (n, d); (0, 0) if it has no rows.

    Args:
        column: Arrow's binary column, or the values as bytes; without nulls.

    Raises:
        UnusableVectors: the values have different lengths: they are not of one model.
    """
    return to_stored(column).astype(np.float32)


def to_stored(column: pa.Array | pa.ChunkedArray | Sequence[bytes]) -> NDArray[np.float16]:
    """A column of `embeddings` as float16 (n, d); raises as `to_vectors`."""
    if isinstance(column, pa.ChunkedArray):
        parts = [to_stored(chunk) for chunk in column.chunks if len(chunk)]
        _refuse_mixed({part.shape[1] * STORED.itemsize for part in parts})
        return np.concatenate(parts) if parts else np.zeros((0, 0), STORED)
    values = column if isinstance(column, pa.Array) else pa.array([bytes(v) for v in column], pa.binary())
    if not len(values):
        return np.zeros((0, 0), STORED)
    if values.null_count:
        raise UnusableVectors(f"{values.null_count} of {len(values)} vectors are null: filter them out")
    values = values.cast(pa.large_binary())
    offsets = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]
    _refuse_mixed({int(size) for size in np.unique(np.diff(offsets))})
    content = np.frombuffer(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    return content.view(STORED).reshape(len(values), -1)


def _refuse_mixed(sizes: set[int]) -> None:
    if len(sizes) > 1 or any(size % STORED.itemsize or not size for size in sizes):
        listed = ", ".join(f"{size} bytes" for size in sorted(sizes))
        raise UnusableVectors(
            f"vectors of {listed} are not of one model: select the rows of one model_id in embeddings"
        )
