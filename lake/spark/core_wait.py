"""What a session waits for when a cluster gives it no executors, and who holds the cores meanwhile."""

import sys
import threading
import time
from dataclasses import dataclass

from py4j.protocol import Py4JError
from pyspark import SparkContext

from lake.spark import master_page
from lake.spark.master_page import ClusterUse

# Properties of a session that Spark ignores.
PAGE, NEEDED, PATIENCE = "spark.hub.masterPage", "spark.hub.neededExecutors", "spark.hub.waitSeconds"
_POLL_SECONDS = 1.0
_QUIET_SECONDS = 5.0  # executors usually start within this time
_REPEAT_SECONDS = 60.0


@dataclass(frozen=True)
class CoreWait:
    """The executors that a session needs on a cluster.

    Args:
        context: of the session.
    """

    context: SparkContext

    @property
    def needed(self) -> int:
        """Executors without which the session cannot work."""
        return int(self._property(NEEDED, "1"))

    @property
    def needed_cores(self) -> int:
        """Cores of these executors."""
        return self.needed * int(self._property("spark.executor.cores", "1"))

    @property
    def patience(self) -> float:
        """Seconds for which a training waits while other applications hold its cores."""
        return float(self._property(PATIENCE, "0"))

    def executors(self) -> int:
        """Executors that have registered."""
        return len(self.context._jsc.sc().statusTracker().getExecutorInfos()) - 1  # the driver is in the list

    def use(self) -> ClusterUse | None:
        """The cores of the cluster now; None if it does not tell."""
        return master_page.read(self._property(PAGE, ""))

    def is_waiting(self) -> bool:
        """Whether executors are missing. With dynamic allocation a session without a job needs none."""
        if self.executors() >= self.needed:
            return False
        dynamic = self._property("spark.dynamicAllocation.enabled", "false") == "true"
        return not dynamic or bool(self.context.statusTracker().getActiveJobsIds())

    def missing(self, use: ClusterUse | None) -> int:
        """Cores that the session needs beyond those that it holds."""
        return self.needed_cores - (use.held_by(self.context.applicationId) if use else 0)

    def others(self, use: ClusterUse | None) -> str:
        """Which other applications hold cores, as far as the cluster tells."""
        return use.others(self.context.applicationId) if use else ""

    def describe(self, use: ClusterUse | None) -> str:
        """What is missing and who holds it, as `waiting for 2 cores; hub ingest holds 2 (… has 3)`."""
        missing = self.missing(use)
        text = f"waiting for {missing} core{'s' if missing != 1 else ''}"
        if use is None:
            return f"{text} of {self.context.master}, which does not tell who holds them"
        if others := self.others(use):
            text += f"; {others}"
        text += f" ({self.context.master} has {use.cores}"
        if 0 < missing <= use.free:
            text += f", {use.free} are free, but an executor needs {self.memory} of a worker's memory, too"
        return f"{text})"

    @property
    def memory(self) -> str:
        """Memory of an executor, as Spark writes it."""
        return self._property("spark.executor.memory", "1g")

    def _property(self, name: str, default: str) -> str:
        return self.context.getConf().get(name, default) or default


def watch(context: SparkContext, name: str) -> None:
    """Say on standard error, from another thread, while the session waits for cores; until it stops."""
    threading.Thread(target=_watch, args=(CoreWait(context), name), name="hub-cores", daemon=True).start()


def _watch(wait: CoreWait, name: str) -> None:
    since, said_at, said = time.monotonic(), 0.0, ""
    pause = threading.Event()
    while not pause.wait(_POLL_SECONDS):
        try:
            if not wait.is_waiting():
                since, said = time.monotonic(), ""
                continue
            now = time.monotonic()
            if now - since < _QUIET_SECONDS:
                continue
            use = wait.use()
            # The cluster may have granted the cores already: then only the executor has to start.
            if use is not None and wait.missing(use) <= 0:
                continue
            text = wait.describe(use)
        except (Py4JError, OSError, AttributeError, TypeError):
            return  # the session has stopped
        if text != said or now - said_at > _REPEAT_SECONDS:
            print(f"hub {name}: {text}", file=sys.stderr, flush=True)
            said_at, said = now, text
