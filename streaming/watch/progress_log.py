"""Each progress of each streaming query, as one JSON line in `<logs>/progress.jsonl`."""

import json
import logging
import threading
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from typing import Any

from pyspark import SparkContext
from pyspark.sql.streaming.listener import (
    JStreamingQueryListener,
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

from conf.sections import Logs

NAME = "progress.jsonl"


class ProgressLog(StreamingQueryListener):
    """Writes what Spark says of each micro-batch, and tells the ledger's query to whoever watches.

    The file is rotated at `logs.progress_bytes`; `logs.progress_files` old ones are kept. Lines have the
    event (started, progress, terminated) and Spark's own fields.

    Args:
        logs: where.
        on_progress: called with each progress, from the listener's thread.
    """

    def __init__(self, logs: Logs, on_progress: Callable[[dict[str, Any]], None]) -> None:
        logs.dir.mkdir(parents=True, exist_ok=True)
        self._file = RotatingFileHandler(
            logs.dir / NAME, maxBytes=logs.progress_bytes, backupCount=logs.progress_files, encoding="utf-8"
        )
        self._on_progress = on_progress
        self._ended: set[str] = set()
        self._change = threading.Condition()

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802  # Spark's name
        """A query was started."""
        names = {"id": str(event.id), "runId": str(event.runId), "name": event.name}
        self._write({"event": "started", "timestamp": event.timestamp} | names)

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        """A micro-batch was done."""
        self.progressed(event.progress.json)

    def progressed(self, text: str) -> None:
        """A micro-batch was done; what Spark says of it, in JSON."""
        progress = json.loads(text)
        self._write({"event": "progress"} | progress)
        self._on_progress(progress)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        """Nothing came; not worth a line."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """A query ended."""
        why = event.exception.splitlines()[0] if event.exception else None
        self._write({"event": "terminated", "id": str(event.id), "runId": str(event.runId), "exception": why})
        with self._change:
            self._ended.add(str(event.runId))
            self._change.notify_all()

    def wait_for(self, runs: set[str], seconds: float) -> bool:
        """Wait until the end of these runs was told; Spark tells it some time after they ended."""
        with self._change:
            return self._change.wait_for(lambda: runs <= self._ended, seconds)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def _jlistener(self) -> Any:
        """What Spark's JVM calls."""
        if not hasattr(self, "_jlistenerobj"):
            wrapper = "org.apache.spark.sql.streaming.PythonStreamingQueryListenerWrapper"
            self._jlistenerobj = getattr(SparkContext._jvm, wrapper)(_Events(self))
        return self._jlistenerobj

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        self._file.handle(logging.LogRecord("progress", logging.INFO, "", 0, text, None, None))


class _Events(JStreamingQueryListener):
    """Hands over a progress as the text that it is wanted as.

    PySpark makes objects of it first, with five iterators over Java's maps: each ends with an exception
    that it looks up among the JVM's classes, in all 0.15 s of processor time for each micro-batch.
    """

    def onQueryProgress(self, jevent: Any) -> None:  # noqa: N802
        self.pylistener.progressed(jevent.progress().json())  # type: ignore[attr-defined]
