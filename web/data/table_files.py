"""The data files of a Delta table, and their rows as Arrow batches without pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from conf.settings import Settings
from lake.row_writer import storage_options
from lake.storage import Storage
from lake.table import Table
from web.data.columns import FILE, ROW, copied

_BATCH_ROWS = 65_536
_REOPEN = 30  # looks for a new version


@dataclass(frozen=True)
class TableFiles:
    """The files of one version of a table.

    Args:
        table_id: changes when the table is deleted and created again.
        version: of the table.
        paths: of its data files, relative to the table's folder.
    """

    table_id: str
    version: int
    paths: frozenset[str]


class TableLog:
    """Follows a table's versions without Spark.

    Args:
        settings: of the hub.
        table: its name.
    """

    def __init__(self, settings: Settings, table: Table) -> None:
        self._uri = settings.lake.at(table)
        self._options = storage_options(settings)
        self._delta: Any = None
        self._looks = 0

    def newest(self) -> TableFiles | None:
        """The files of the newest version; None while the table does not exist."""
        # An update does not see that the table was deleted and created again: sometimes open it anew.
        self._looks += 1
        try:
            if self._delta is None or self._looks % _REOPEN == 0:
                self._delta = DeltaTable(self._uri, storage_options=self._options)
            else:
                self._delta.update_incremental()
        except TableNotFoundError:
            self._delta = None
            return None
        except (DeltaError, OSError):
            self._delta = None  # the table may have been deleted, or its old log purged: open it again
            raise
        version = int(self._delta.version())
        return TableFiles(str(self._delta.metadata().id), version, frozenset(self._paths()))

    def _paths(self) -> Iterator[str]:
        root = self._uri.rstrip("/") + "/"
        scheme_less = root.partition("://")[2] or root
        for uri in self._delta.file_uris():
            text = unquote(str(uri))
            yield text.removeprefix(root) if text.startswith(root) else text.partition(scheme_less)[2]


def read(storage: Storage, table: Table, path: str, file_id: int) -> Iterator[pa.RecordBatch]:
    """The rows of a data file: columns of the copy that the file has, with the file's number and positions.

    Raises:
        OSError: the file does not exist any more, or cannot be read.
    """
    filesystem, location = storage.resolve(path)
    with filesystem.open_input_file(location) as source:
        file = pq.ParquetFile(source)
        columns = [name for name in copied(table) if name in file.schema_arrow.names]
        row = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            count = batch.num_rows
            arrays = [_without_zone(column) for column in batch.columns]
            numbers = [pa.array([file_id] * count, pa.int32()), pa.array(range(row, row + count), pa.int32())]
            yield pa.RecordBatch.from_arrays(arrays + numbers, [*batch.schema.names, FILE, ROW])
            row += count


def _without_zone(column: pa.Array) -> pa.Array:
    """Times of the lake are in UTC; DuckDB's times without a zone need no extension."""
    return column.cast(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column
