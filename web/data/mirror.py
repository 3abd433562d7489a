"""Copies of the lake's tables without pixels, in a DuckDB database of this process.

Page requests read the copies and never the lake: a query over a million uploads takes milliseconds, and needs
neither Spark nor a DuckDB extension, also for a lake on S3. A copy follows its table file by file: rows of
files that a new version has lost are deleted, rows of its new files are added. This holds for appends, merges
and compaction alike, because the hub's tables have no deletion vectors. See docs/decisions/028-web-server.md.
"""

import shutil
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import duckdb
import pyarrow as pa

from conf.settings import Settings
from lake.storage import Storage
from lake.table import Table
from web.data import columns, table_files
from web.data.columns import FILE
from web.data.table_files import TableFiles, TableLog

T = TypeVar("T")

_REMEMBERED = 256  # values
_MEMORY = "192MB"  # of DuckDB; more is spilled beside its file
_THREADS = 2
_SNAPSHOT_SECONDS = 5.0
# Rows of a label lie together, so that a page of them reads a part of the blocks. Uploads stay as they came:
# sorted by user, the page of the newest would take three times as long.
_SORTED = {Table.SAMPLES: "ORDER BY label"}
_OF_USERS = (Table.UPLOADS, Table.SAMPLES)  # have a column `user`


@dataclass(frozen=True)
class Change:
    """A copy was brought to a new version.

    Args:
        table: whose copy.
        version: of the table.
        files: numbers of the files whose rows are new.
    """

    table: Table
    version: int
    files: frozenset[int]


class Mirror:
    """The copies of all tables.

    Args:
        settings: of the hub.
        file: of the DuckDB database; an existing file is replaced.
    """

    # A value that cannot be read as the type that a statement casts it to.
    CONVERSION_ERRORS = (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)

    def __init__(self, settings: Settings, file: Path) -> None:
        self._settings = settings
        file.parent.mkdir(parents=True, exist_ok=True)
        for old in (file, file.with_name(f"{file.name}.wal")):
            old.unlink(missing_ok=True)
        self._database = duckdb.connect(str(file), config={"memory_limit": _MEMORY, "threads": _THREADS})
        self._file = file
        self._local = threading.local()
        self._refreshing = threading.Lock()
        self._logs = {table: TableLog(settings, table) for table in Table}
        self._copies: dict[Table, TableFiles | None] = dict.fromkeys(Table)
        self._database.execute("CREATE TABLE files (file_id INTEGER, tbl VARCHAR, path VARCHAR)")
        self._next_file = 0
        self._hidden: set[str] = set()
        self._remembering = threading.Lock()
        self._remembered: OrderedDict[tuple[Hashable, ...], tuple[object, object]] = OrderedDict()
        self._snapshot: tuple[dict[Table, int], Path, float] | None = None
        for table in Table:
            self._database.execute(columns.create_statement(table))
        for view in columns.VIEWS:
            self._database.execute(view)
        self._database.execute("CREATE INDEX uploads_by_id ON uploads (upload_id)")
        self._database.execute("CREATE INDEX samples_by_id ON samples (image_id)")
        self.on_change: list[Callable[[Change], None]] = []

    def version(self, table: Table) -> int:
        """The table version of a copy; -1 while the table does not exist or was not read yet."""
        copy = self._copies[table]
        return -1 if copy is None else copy.version

    def rows(self, statement: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """Run a query on the copies; parameters are `?` or `$name`.

        Returns:
            rows by column name; times are naive and in UTC.
        """
        cursor = self._cursor().execute(statement, parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    def remember(self, key: tuple[Hashable, ...], compute: Callable[[], T]) -> T:
        """A value that is computed once for the versions that all copies have now.

        Args:
            key: names the value.
            compute: reads the copies.
        """
        versions = tuple(self.version(table) for table in Table)
        with self._remembering:
            found = self._remembered.get(key)
        if found is not None and found[0] == versions:
            return cast(T, found[1])
        value = compute()
        with self._remembering:
            self._remembered[key] = versions, value
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return value

    def column(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of a query's answer, as a NumPy array."""
        found = self._cursor().execute(statement, parameters).fetchnumpy()
        return next(iter(found.values()))

    def hide(self, user: str, hidden: bool) -> None:
        """Take a user's rows out of the copies, now and in later versions, because they are being erased.

        Args:
            hidden: False lets rows that come later in again.
        """
        with self._refreshing:
            if not hidden:
                self._hidden.discard(user)
                return
            self._hidden.add(user)
            with self._remembering:
                self._remembered.clear()
            for table in _OF_USERS:
                self._cursor().execute(f'DELETE FROM {table} WHERE "user" = ?', [user])

    def refresh(self) -> list[Change]:
        """Bring all copies to the newest versions of their tables.

        Returns:
            the copies that changed.

        Raises:
            OSError, DeltaError: the lake cannot be read, or a file was purged meanwhile; copies stay as they
                were, and the next call tries again.
        """
        with self._refreshing:
            changes = [change for table in Table if (change := self._follow(table)) is not None]
        for change in changes:
            for call in self.on_change:
                call(change)
        return changes

    def snapshot(self, folder: Path) -> Path:
        """A DuckDB file with the copies as they are now, for another process; not older than a few seconds.

        Args:
            folder: where it is kept; a file that is replaced is deleted.
        """
        with self._refreshing:
            versions = {table: self.version(table) for table in Table}
            if self._snapshot is None or (
                versions != self._snapshot[0] and time.monotonic() - self._snapshot[2] > _SNAPSHOT_SECONDS
            ):
                self._cursor().execute("CHECKPOINT")
                file = folder / f"snapshot-{uuid.uuid4().hex}.duckdb"
                shutil.copyfile(self._file, file)
                old, self._snapshot = self._snapshot, (versions, file, time.monotonic())
                if old is not None:
                    old[1].unlink(missing_ok=True)  # a process that has it open can still read it
            return self._snapshot[1]

    def close(self) -> None:
        """Close the database and delete its file."""
        with self._refreshing:
            self._database.close()
            self._file.unlink(missing_ok=True)
            if self._snapshot is not None:
                self._snapshot[1].unlink(missing_ok=True)

    def picture_file(self, file_id: int) -> str:
        """The path of a data file of `uploads`, relative to the table's folder."""
        return str(self.rows("SELECT path FROM files WHERE file_id = ?", [file_id])[0]["path"])

    def _cursor(self) -> Any:
        """A cursor of this thread: DuckDB's connections are not safe to share."""
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self._database.cursor()
        return self._local.cursor

    def _follow(self, table: Table) -> Change | None:
        newest, before = self._logs[table].newest(), self._copies[table]
        if newest == before:
            return None
        known = frozenset() if before is None else before.paths
        paths = frozenset() if newest is None else newest.paths
        cursor = self._cursor()
        cursor.execute("BEGIN")
        try:
            self._delete(cursor, table, known - paths)
            added = {self._add(cursor, table, path) for path in sorted(paths - known)}
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        self._copies[table] = newest
        return Change(table, self.version(table), frozenset(added))

    def _delete(self, cursor: Any, table: Table, paths: frozenset[str]) -> None:
        if paths:
            found = "SELECT file_id FROM files WHERE tbl = ? AND path IN (SELECT unnest(?))"
            cursor.execute(f"DELETE FROM {table} WHERE {FILE} IN ({found})", [table.value, list(paths)])
            cursor.execute(
                "DELETE FROM files WHERE tbl = ? AND path IN (SELECT unnest(?))", [table.value, list(paths)]
            )

    def _add(self, cursor: Any, table: Table, path: str) -> int:
        file_id = self._next_file
        self._next_file += 1
        storage = Storage(self._settings.lake.at(table), self._settings.s3)
        for batch in table_files.read(storage, table, path, file_id):
            cursor.register("new_rows", pa.Table.from_batches([batch]))
            cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new_rows {_SORTED.get(table, '')}")
            cursor.unregister("new_rows")
        if table in _OF_USERS and self._hidden:
            cursor.execute(f'DELETE FROM {table} WHERE "user" IN (SELECT unnest(?))', [sorted(self._hidden)])
        cursor.execute("INSERT INTO files VALUES (?, ?, ?)", [file_id, table.value, path])
        return file_id
