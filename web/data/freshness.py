"""Keeps the copies of the tables fresh: a thread that looks for new table versions."""

import logging
import threading
from collections.abc import Callable

from deltalake.exceptions import DeltaError

from web.data.mirror import Mirror

_AWAITED = 4  # times as often
_log = logging.getLogger("hub.web")


class Freshness:
    """Refreshes the copies every few moments.

    Args:
        mirror: the copies.
        seconds: between looks for new versions.
        awaited: whether somebody waits for a verdict: then it looks four times as often.
    """

    def __init__(self, mirror: Mirror, seconds: float, awaited: Callable[[], bool] = lambda: False) -> None:
        self._mirror, self._seconds, self._awaited = mirror, seconds, awaited
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tables", daemon=True)
        self.ready = threading.Event()
        self.problem: str | None = "not read yet"

    def start(self) -> None:
        """Start to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, after a refresh that is running."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._mirror.refresh()
                self.problem = None
                self.ready.set()
            except (OSError, DeltaError) as error:  # the lake is away, or a file was purged: look again
                self.problem = (str(error).splitlines() or [type(error).__name__])[0][:300]
            except Exception:
                self.problem = "the copies of the tables cannot be refreshed; see the log"
                _log.exception("tables cannot be copied")
            self._stopped.wait(self._seconds / (_AWAITED if self._awaited() else 1))
