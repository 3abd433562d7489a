"""Stored pictures and thumbnails, read from the ledger's data files, with a bounded cache.

They are what the hub itself encoded. Original bytes are read for safe previews of rejected uploads only.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import duckdb
import pyarrow.parquet as pq
from pyarrow import fs

from conf.settings import Settings
from lake.storage import Storage
from lake.table import Table
from web.data.mirror import Mirror
from web.data.uploads import LedgerUpload

_CACHE_BYTES = 48 * 2**20
_BEFORE, _AFTER = 32, 96  # thumbnails of neighbouring rows that are read, too


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
        self._paths: dict[int, str] = {}
        self._local = threading.local()

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
        rows = range(place.row, place.row + 1)
        if size is Size.THUMBNAIL:  # lists show many rows of one file
            rows = range(max(0, place.row - _BEFORE), place.row + _AFTER)
        found = self._read(place.file_id, size.value, rows)
        for row, picture in found.items():
            self._keep(_Place(place.file_id, row, size), picture)
        return found.get(place.row)

    def payload(self, upload: LedgerUpload) -> bytes | None:
        """The original bytes of a rejected upload, as it was sent: never show them, only a safe preview.

        Raises:
            OSError: as `read`.
        """
        rows = range(upload.file_row, upload.file_row + 1)
        return self._read(upload.file_id, "payload", rows).get(upload.file_row)

    def _read(self, file_id: int, column: str, rows: range) -> dict[int, bytes]:
        """Values of a column in rows of a data file; rows without one are left out."""
        path = self._path(file_id)
        filesystem, location = self._storage.resolve(path)
        if isinstance(filesystem, fs.LocalFileSystem):
            found = self._read_local(location, column, rows)
        else:
            found = self._read_remote(filesystem, location, column, rows)
        return {row: bytes(value) for row, value in found if value is not None}

    def _read_local(self, file: str, column: str, rows: range) -> list[tuple[int, Any]]:
        """DuckDB skips what is before the rows, and so takes a tenth of the time of Arrow."""
        if not hasattr(self._local, "database"):
            self._local.database = duckdb.connect(config={"threads": 1, "memory_limit": "64MB"})
            self._local.database.execute("SET parquet_metadata_cache = true")
        try:
            found: list[tuple[int, Any]] = self._local.database.execute(
                f"SELECT file_row_number, {column} FROM read_parquet(?, file_row_number = true) "
                "WHERE file_row_number BETWEEN ? AND ?",
                [file, rows.start, rows.stop - 1],
            ).fetchall()
        except duckdb.IOException as error:
            raise OSError(str(error)) from None
        return found

    def _read_remote(self, filesystem: Any, file: str, name: str, rows: range) -> list[tuple[int, Any]]:
        with filesystem.open_input_file(file) as source:
            parquet, first = pq.ParquetFile(source), 0
            for group in range(parquet.num_row_groups):
                count = parquet.metadata.row_group(group).num_rows
                if first <= rows.start < first + count:
                    column = parquet.read_row_group(group, columns=[name]).column(0)
                    part = column.slice(rows.start - first, len(rows)).to_pylist()
                    return list(enumerate(part, rows.start))
                first += count
        return []

    def _path(self, file_id: int) -> str:
        """A data file's path."""
        with self._lock:
            known = self._paths.get(file_id)
        if known is None:
            known = self._paths[file_id] = self._mirror.picture_file(file_id)
        return known

    def _keep(self, place: _Place, content: bytes) -> None:
        with self._lock:
            if place not in self._cache:
                self._cache[place] = content
                self._cached_bytes += len(content)
            while self._cached_bytes > _CACHE_BYTES:
                _, oldest = self._cache.popitem(last=False)
                self._cached_bytes -= len(oldest)
