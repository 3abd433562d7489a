"""Progress log: one JSON line in `<logs>/progress.jsonl` per progress event of a streaming query."""

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
    """A streaming query listener that writes Spark's events to a file and passes each progress on.

    The file is rotated at `logs.progress_bytes`; `logs.progress_files` old files are kept. Each line has the
    event (started, progress, terminated) and Spark's own fields.

    Args:
        logs: folder and rotation of the file.
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
        """Write the start of a query."""
        names = {"id": str(event.id), "runId": str(event.runId), "name": event.name}
        self._write({"event": "started", "timestamp": event.timestamp} | names)

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        """Write the progress of a micro-batch."""
        self.record_progress(event.progress.json)

    def record_progress(self, text: str) -> None:
        """Write the progress of a micro-batch, given as Spark's JSON, and pass it on."""
        progress = json.loads(text)
        self._write({"event": "progress"} | progress)
        self._on_progress(progress)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        """Ignore a trigger without new data."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """Write the end of a query."""
        why = event.exception.splitlines()[0] if event.exception else None
        self._write({"event": "terminated", "id": str(event.id), "runId": str(event.runId), "exception": why})
        with self._change:
            self._ended.add(str(event.runId))
            self._change.notify_all()

    def wait_for(self, runs: set[str], seconds: float) -> bool:
        """Wait until Spark has reported the end of these runs, which it does some time after they end."""
        with self._change:
            return self._change.wait_for(lambda: runs <= self._ended, seconds)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def _jlistener(self) -> Any:
        """The Java listener that Spark's JVM calls."""
        if not hasattr(self, "_jlistenerobj"):
            wrapper = "org.apache.spark.sql.streaming.PythonStreamingQueryListenerWrapper"
            self._jlistenerobj = getattr(SparkContext._jvm, wrapper)(_JsonListener(self))
        return self._jlistenerobj

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        self._file.handle(logging.LogRecord("progress", logging.INFO, "", 0, text, None, None))


class _JsonListener(JStreamingQueryListener):
    """Takes the JSON text of a progress directly from Java.

    PySpark would create Python objects first, with five iterators over Java maps. Each iterator ends with an
    exception that is looked up among the JVM's classes: 0.15 s of CPU time per micro-batch in total.
    """

    def onQueryProgress(self, jevent: Any) -> None:  # noqa: N802
        self.pylistener.record_progress(jevent.progress().json())  # type: ignore[attr-defined]
