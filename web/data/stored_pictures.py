"""Stored pictures and thumbnails, read from the ledger's data files, with a bounded cache.

They are what the hub itself encoded. Original bytes are never read here.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow.parquet as pq

from conf.settings import Settings
from lake.storage import Storage
from lake.table import Table
from web.data.mirror import Mirror
from web.data.uploads import LedgerUpload

_CACHE_BYTES = 48 * 2**20
_OPEN_FILES = 64


class Size(StrEnum):
    """Which picture: the column of the ledger."""

    PICTURE = "jpeg"  # longest side `ingest.longest_side`
    THUMBNAIL = "thumbnail"  # longest side `ingest.thumbnail_side`


@dataclass(frozen=True)
class _Place:
    file_id: int
    row: int
    size: Size


class StoredPictures:
    """Reads pictures of accepted uploads.

    Args:
        settings: of the hub.
        mirror: knows the data files.
    """

    def __init__(self, settings: Settings, mirror: Mirror) -> None:
        self._storage = Storage(settings.lake.at(Table.UPLOADS), settings.s3)
        self._mirror = mirror
        self._lock = threading.Lock()
        self._cache: OrderedDict[_Place, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._metadata: OrderedDict[int, tuple[str, Any]] = OrderedDict()

    def read(self, upload: LedgerUpload, size: Size) -> bytes | None:
        """The JPEG of an upload; None if it has none: it was rejected or erased.

        Raises:
            OSError: the data file was rewritten meanwhile, or cannot be read.
        """
        place = _Place(upload.file_id, upload.file_row, size)
        with self._lock:
            content = self._cache.get(place)
            if content is not None:
                self._cache.move_to_end(place)
                return content
        content = self._read(place)
        if content is not None:
            self._keep(place, content)
        return content

    def _read(self, place: _Place) -> bytes | None:
        path, metadata = self._file(place.file_id)
        filesystem, location = self._storage.resolve(path)
        with filesystem.open_input_file(location) as source:
            file = pq.ParquetFile(source, metadata=metadata)
            row = place.row
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row < rows:
                    column = file.read_row_group(group, columns=[place.size.value]).column(0)
                    value = column[row].as_py()
                    return None if value is None else bytes(value)
                row -= rows
        return None

    def _file(self, file_id: int) -> tuple[str, Any]:
        """A data file's path and its metadata, which is larger than what is read of it."""
        with self._lock:
            known = self._metadata.get(file_id)
        if known is None:
            path = self._mirror.picture_file(file_id)
            filesystem, location = self._storage.resolve(path)
            with filesystem.open_input_file(location) as source:
                known = path, pq.ParquetFile(source).metadata
            with self._lock:
                self._metadata[file_id] = known
                if len(self._metadata) > _OPEN_FILES:
                    self._metadata.popitem(last=False)
        return known

    def _keep(self, place: _Place, content: bytes) -> None:
        with self._lock:
            if place not in self._cache:
                self._cache[place] = content
                self._cached_bytes += len(content)
            while self._cached_bytes > _CACHE_BYTES:
                _, oldest = self._cache.popitem(last=False)
                self._cached_bytes -= len(oldest)
