"""The data files of a table, read without Spark: which files its newest version has, and their rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.settings import Settings
from lake.errors import StorageError
from lake.native_output import is_panic, stderr_to
from lake.row_writer import storage_options
from lake.storage import Storage
from lake.table import Table

BATCH_ROWS = 1024  # of embeddings 2.6 MB
MANY_FILES = 200  # from which reading a table for a few rows takes most of the time to open its files
_BUFFER_BYTES = 2**20
_COMPACTED_BYTES = 32 * 2**20  # larger files are left as they are


@dataclass(frozen=True)
class TableFiles:
    """The files of a table's version. A file never changes; a commit adds and removes whole files.

    Args:
        storage: of the table's folder.
        table_id: unique id of the table.
        version: of the table.
        names: of the Parquet files, sorted.
    """

    storage: Storage
    table_id: str
    version: int
    names: tuple[str, ...]

    @classmethod
    def newest(cls, settings: Settings, table: Table) -> Self | None:
        """The newest version; None if the table does not exist.

        Raises:
            StorageError: the table cannot be read.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        uri, options = settings.lake.at(table), storage_options(settings)
        try:
            with stderr_to(settings.logs.dir / "delta.out"):  # delta-rs writes the trace of a panic there
                if not DeltaTable.is_deltatable(uri, options):
                    return None
                delta = DeltaTable(uri, storage_options=options)
                # All tables of the hub lie in one folder, without partitions.
                names = sorted(uri.rpartition("/")[2] for uri in delta.file_uris())
                return cls(Storage(uri, settings.s3), str(delta.metadata().id), delta.version(), tuple(names))
        except (DeltaError, OSError) as error:
            raise StorageError(f"cannot read {uri}: {str(error).splitlines()[0][:200]}") from None
        except BaseException as error:
            if not is_panic(error):
                raise
            log = settings.logs.dir / "delta.out"
            raise StorageError(f"cannot read {uri}: delta-rs failed; see {log}") from None

    def count_equal(self, settings: Settings, column: str, value: str) -> int:
        """The number of rows with a value: from the statistics of files, or else from their rows.

        Args:
            column: a text column.
        """
        from deltalake import DeltaTable

        found = DeltaTable(self.storage.root, self.version, storage_options=storage_options(settings))
        files = pa.table(found.get_add_actions(flatten=True)).to_pylist()
        total = 0
        for file in files:
            least, most = file.get(f"min.{column}"), file.get(f"max.{column}")
            if least == most == value and not file.get(f"null_count.{column}"):
                total += file["num_records"]
            elif least is None or most is None or least <= value <= most:
                for batch in self.batches(file["path"], [column]):
                    total += pc.sum(pc.equal(batch[column], value)).as_py() or 0
        return total

    def compact(self, settings: Settings) -> bool:
        """Merge small files of a table that has many; no row changes.

        Returns:
            whether it was done: not if another writer committed meanwhile, the next call tries again.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import CommitFailedError

        if len(self.names) < MANY_FILES:
            return False
        try:
            found = DeltaTable(self.storage.root, storage_options=storage_options(settings))
            return bool(found.optimize.compact(target_size=_COMPACTED_BYTES)["numFilesRemoved"])
        except CommitFailedError:
            return False

    def batches(self, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of a file, at most `BATCH_ROWS` at once.

        Raises:
            StorageError: the file cannot be read, for example because it was removed meanwhile.
        """
        filesystem, path = self.storage.resolve(name)
        try:
            # A stream: else the whole column of a row group is read at once, 50 MB of 20,000 embeddings.
            # Without threads, each of which would keep memory of Arrow for later, 32 MB in all.
            with pq.ParquetFile(path, filesystem=filesystem, buffer_size=_BUFFER_BYTES) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False):
                    yield pa.RecordBatch.from_arrays([_plain(batch[name]) for name in columns], list(columns))
            pa.default_memory_pool().release_unused()  # Arrow keeps 100 MB else
        except (OSError, pa.ArrowException) as error:
            cause = " ".join(str(error).split())[:200]
            raise StorageError(f"cannot read {self.storage.root}/{name}: {cause}") from None


def _plain(column: pa.Array) -> pa.Array:
    """The column without views, which delta-rs writes and which some of Arrow's functions do not take."""
    if column.type == pa.string_view():
        return column.cast(pa.string())
    return column.cast(pa.binary()) if column.type == pa.binary_view() else column
