"""A segment of the index: vectors, the ids of their images, and a compressed index once it is sealed."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from organize.features.vectors import STORED, Vectors
from organize.index import compressed
from organize.index.row_file import opened, read_rows

ID = np.dtype("S64")  # an image id is a sha256 in hex; removed rows have an empty one
_SCAN_ROWS = 2048  # vectors that are compared at once (10 MB as float32 at 1,280 numbers)


@dataclass(frozen=True)
class Segment:
    """Rows of the index, in two files, or three.

    Args:
        folder: of the index.
        name: of the files, without suffix.
        rows: that belong to the segment; the files may be longer after a crash.
        size: numbers of a vector.
        sealed: whether it has a compressed index; then no rows are added to it.
    """

    folder: Path
    name: str
    rows: int
    size: int
    sealed: bool = False

    @property
    def vector_file(self) -> Path:
        """The file of vectors: float16 (rows, size), little-endian."""
        return self.folder / f"{self.name}.vectors"

    @property
    def id_file(self) -> Path:
        """The file of image ids, 64 bytes each."""
        return self.folder / f"{self.name}.ids"

    @property
    def index_file(self) -> Path:
        """The compressed index of a sealed segment."""
        return self.folder / f"{self.name}.faiss"

    def is_complete(self) -> bool:
        """Whether the files have all rows."""
        row_bytes = {self.vector_file: self.size * STORED.itemsize, self.id_file: ID.itemsize}
        if self.sealed and not self.index_file.exists():
            return False
        return all(file.exists() and file.stat().st_size >= self.rows * n for file, n in row_bytes.items())

    def vectors(self, mode: str = "r") -> NDArray[np.float16]:
        """The vectors, mapped into memory: float16 (rows, size)."""
        if not self.rows:
            return np.zeros((0, self.size), STORED)
        return np.memmap(self.vector_file, STORED, mode, shape=(self.rows, self.size))  # type: ignore[call-overload]

    def ids(self, mode: str = "r") -> NDArray[np.bytes_]:
        """The image ids, mapped into memory: (rows,)."""
        if not self.rows:
            return np.zeros(0, ID)
        return np.memmap(self.id_file, ID, mode, shape=(self.rows,))  # type: ignore[call-overload]

    def appended(self, ids: NDArray[np.bytes_], vectors: NDArray[np.float16]) -> "Segment":
        """The segment with more rows, written after its own; what is behind these is overwritten."""
        for file, rows in ((self.vector_file, np.ascontiguousarray(vectors, STORED)), (self.id_file, ids)):
            file.touch()
            with file.open("r+b") as opened:
                opened.truncate(self.rows * (rows.nbytes // len(rows)))
                opened.seek(0, 2)
                opened.write(rows.tobytes())
        return Segment(self.folder, self.name, self.rows + len(ids), self.size)

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Overwrite rows with zeros, in place: neither an id nor a vector of them is left."""
        if not len(rows):
            return
        if self.sealed:
            compressed.remove(self.index_file, rows)
        mapped: tuple[Any, ...] = (self.vectors("r+"), self.ids("r+"))
        for each in mapped:
            each[rows] = np.zeros((), each.dtype)
            each.flush()

    def search(self, queries: Vectors, k: int) -> tuple[NDArray[np.bytes_], Vectors]:
        """The nearest rows: image ids (n, k) and cosines (n, k), the nearest first; empty ids where none is.

        Args:
            queries: (n, size), of length 1.
        """
        best, rows = self._nearest(queries, k)
        return self._ids_of(rows) if self.rows else np.zeros(rows.shape, ID), best

    def _ids_of(self, rows: NDArray[np.int64]) -> NDArray[np.bytes_]:
        with opened(self.id_file) as descriptor:
            read = read_rows(descriptor, rows.ravel(), ID.itemsize, np.dtype(np.uint8))
        return read.view(ID).reshape(rows.shape)

    def _nearest(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        if self.sealed:
            return self._compressed.search(queries, self.vector_file, k)
        best = np.full((len(queries), k), -2.0, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for first in range(0, self.rows, _SCAN_ROWS):
            # Mapped anew for each block: the pages of the one before need not stay in memory.
            block = self.vectors()[first : first + _SCAN_ROWS].astype(np.float32)
            scores, found = faiss.knn(queries, block, min(k, len(block)), faiss.METRIC_INNER_PRODUCT)
            best, rows = merge_nearest((best, rows), (scores, np.where(found >= 0, found + first, -1)), k)
        return best, rows

    @cached_property
    def _compressed(self) -> compressed.CompressedIndex:
        return compressed.CompressedIndex(self.index_file)


def merge_nearest(
    left: tuple[Vectors, NDArray[Any]], right: tuple[Vectors, NDArray[Any]], k: int
) -> tuple[Vectors, NDArray[Any]]:
    """The k greatest of two lists of scores (n, …) for each query, and what belongs to them."""
    scores = np.concatenate([left[0], right[0]], axis=1)
    values = np.concatenate([left[1], right[1]], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(values, order, 1)
