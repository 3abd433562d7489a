"""The table that a batch inference writes: it appears whole, and an old one stays until then."""

import secrets
from collections.abc import Callable
from typing import Any

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession

from conf.errors import UsageError
from lake import tables
from lake.errors import StorageError


class OutputTable:
    """A table at a path or URI; Parquet if it ends in .parquet, else Delta.

    Args:
        spark: session to use.
        uri: in the form that Spark needs.
    """

    def __init__(self, spark: SparkSession, uri: str) -> None:
        self._spark, self._uri = spark, uri
        self._format = "parquet" if uri.endswith(".parquet") else "delta"

    def refuse_existing(self, replace: bool) -> None:
        """Check that the table can be written.

        Raises:
            UsageError: it exists and is not to be replaced, or it is something else than a table.
            StorageError: its place cannot be read.
        """
        try:
            exists = self._path_call(self._uri, lambda files, path: files.exists(path))
            if exists and not replace:
                raise UsageError(f"{self._uri} exists already: --replace overwrites it, --to names another")
            if exists and not self._is_delta() and not self._is_parquet():
                raise UsageError(f"{self._uri} is no table, so --replace leaves it: --to names another")
        except Py4JJavaError as error:
            raise StorageError(f"cannot write {self._uri}: {tables.first_line(error)}") from error

    def write(self, rows: DataFrame) -> None:
        """Write the rows, in place of an old table.

        A failure, Ctrl-C or a kill leaves the old table, or none.

        Raises:
            PySparkException, Py4JJavaError: the rows cannot be computed or written.
        """
        if self._format == "delta" and self._is_delta():  # a commit replaces it, and its history stays
            overwriting = rows.write.format("delta").mode("overwrite")
            overwriting.option("overwriteSchema", True).save(self._uri)
            return
        mark = secrets.token_hex(4)
        partial, old = f"{self._uri}.partial-{mark}", f"{self._uri}.old-{mark}"
        try:
            rows.write.format(self._format).mode("errorifexists").save(partial)
            replaced = self._rename(self._uri, old)
            try:
                self._rename(partial, self._uri, must_exist=True)
            except BaseException:
                if replaced:
                    self._rename(old, self._uri)
                raise
        finally:
            self._delete(partial)
        self._delete(old)

    def _is_delta(self) -> bool:
        return DeltaTable.isDeltaTable(self._spark, self._uri)

    def _is_parquet(self) -> bool:
        """Whether it is a Parquet file, or a folder of nothing else."""

        def only_parquet(files: Any, path: Any) -> bool:
            listed = files.listFiles(path, True)
            while listed.hasNext():
                name = listed.next().getPath().getName()
                if not (name.endswith(".parquet") or name.startswith(("_", "."))):
                    return False
            return True

        return bool(self._path_call(self._uri, only_parquet))

    def _rename(self, source: str, target: str, must_exist: bool = False) -> bool:
        """Rename a file or folder; False if it does not exist. On S3 its files are copied."""

        def rename(files: Any, path: Any) -> bool:
            if not must_exist and not files.exists(path):
                return False
            if not files.rename(path, self._path(target)):
                raise StorageError(f"cannot rename {source} to {target}")
            return True

        return bool(self._path_call(source, rename))

    def _delete(self, uri: str) -> None:
        self._path_call(uri, lambda files, path: files.delete(path, True))

    def _path_call(self, uri: str, call: Callable[[Any, Any], Any]) -> Any:
        """Call a function with Hadoop's file system of a path, and the path."""
        path = self._path(uri)
        return call(path.getFileSystem(self._spark._jsc.hadoopConfiguration()), path)

    def _path(self, uri: str) -> Any:
        return self._spark._jvm.org.apache.hadoop.fs.Path(uri)  # type: ignore[union-attr]
