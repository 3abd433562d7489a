"""The nearest vectors of a model: an index on this machine that follows the table `embeddings`.

Docs: docs/decisions/024-embeddings-and-their-index.md.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from threadpoolctl import ThreadpoolController

from conf.settings import Settings
from lake.table import Table
from lake.table_files import TableFiles
from organize.errors import UnusableVectors
from organize.features.vectors import Vectors, to_unit
from organize.index import update
from organize.index.compaction import segments_of
from organize.index.manifest import Manifest
from organize.index.segment import ID, merge_nearest

_BINARY = pa.binary(ID.itemsize)
_QUERIES = 1024  # that are searched at once


@cache
def _libraries() -> ThreadpoolController:
    """The libraries with threads; to find them takes as long as a search."""
    return ThreadpoolController()


class VectorIndex:
    """The vectors of a model as of a version of `embeddings`.

    Args:
        folder: of the index.
        manifest: its state.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.version = manifest.version
        self.size = manifest.size
        self._segments = segments_of(folder, manifest)

    @classmethod
    def open(
        cls,
        spark: SparkSession | None,
        settings: Settings,
        model_id: str,
        report: Callable[[str], None] = lambda message: None,
    ) -> Self:
        """Open the index, brought up to date with the table: rows added, and erased ones removed.

        It is made if it is missing, damaged or of another table, and repaired if it is ahead of the table.

        Args:
            spark: not used; the table is read without it.
            settings: of the hub.
            model_id: whose vectors are searched.
            report: called with what was repaired.

        Raises:
            StorageError: the table cannot be read.
            UnusableVectors: the model has vectors of different lengths.
            UnusableIndex: the folder cannot be written.
        """
        files = TableFiles.newest(settings, Table.EMBEDDINGS)
        if files is None:
            return cls(settings.organize.index_dir, Manifest())
        folder = settings.organize.index_dir / files.table_id / model_id
        return cls(folder, update.up_to_date(folder, files, model_id, report))

    def __len__(self) -> int:
        """The number of images, erased ones of a not yet compacted segment included."""
        return sum(segment.rows for segment in self._segments)

    def search(self, vectors: Vectors, k: int) -> tuple[NDArray[np.str_], Vectors]:
        """The k nearest images of each vector.

        Args:
            vectors: (n, d), of any length but zero.
            k: number of images.

        Returns:
            image ids (n, k) and cosines float32 (n, k), the nearest first; where there are fewer images, an
            empty id and the cosine -2. A vector that is in the index finds itself.

        Raises:
            UnusableVectors: the vectors are not of this model: their length is another one.
        """
        if self.size and vectors.shape[1] != self.size:
            raise UnusableVectors(f"vectors of {vectors.shape[1]} numbers, but the index has {self.size}")
        queries = np.ascontiguousarray(to_unit(vectors))
        ids = np.zeros((len(queries), k), ID)
        cosines = np.full((len(queries), k), -2.0, np.float32)
        with _libraries().limit(limits=1, user_api="blas"):  # its threads wait for each other with full load
            for first in range(0, len(queries), _QUERIES):
                part = slice(first, first + _QUERIES)
                for segment in self._segments:
                    found, scores = segment.search(queries[part], k)
                    scores = np.where(found == b"", np.float32(-2), scores)
                    cosines[part], ids[part] = merge_nearest((cosines[part], ids[part]), (scores, found), k)
        return ids.astype(np.str_), cosines

    def ids_with_prefix(self, prefix: str) -> list[str]:
        """The ids of the images that begin with a prefix."""
        found: list[str] = []
        for segment in self._segments:
            ids = segment.ids()
            found += ids[np.char.startswith(ids, prefix.encode())].astype(np.str_).tolist()
        return found

    def vectors_of(self, image_ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The vectors of images: the ids that are in the index, and float32 (n, d) in the same order."""
        wanted = pa.array(sorted(image_id.encode() for image_id in set(image_ids)), _BINARY)
        found: list[str] = []
        parts = [np.zeros((0, self.size), np.float32)]
        for segment in self._segments:
            ids = segment.ids()
            # Arrow hashes the ids; numpy would sort a million of them.
            stored = pa.FixedSizeBinaryArray.from_buffers(_BINARY, len(ids), [None, pa.py_buffer(ids)])
            rows = np.flatnonzero(pc.is_in(stored, value_set=wanted))
            found += ids[rows].astype(np.str_).tolist()
            parts.append(segment.vectors()[rows].astype(np.float32))
        return found, np.concatenate(parts)
