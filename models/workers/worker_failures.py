"""What ends a worker's run, whether another attempt is worth it, and how it is told in one line."""

import errno
import re
from dataclasses import dataclass
from enum import StrEnum

from conf.errors import HubError
from models.errors import Diverged
from models.messages import Failed

_TIMES = "times in a row without finishing another epoch (train.retries"


class Kind(StrEnum):
    """How a worker ended."""

    PEER = "peer"  # what the loss of another worker made of this one; not a cause in itself
    LOST = "lost"  # process, executor or machine went or hangs; worth another attempt
    MEMORY = "memory"  # it took too much memory; tried once more
    FINAL = "final"  # would happen again
    DIVERGED = "diverged"  # the weights are no numbers any more; would happen again, in the same command too


def failed(worker: int, error: BaseException) -> Failed:
    """What a worker that stopped with an exception tells the driver."""
    return Failed(worker, line(error), _kind(error))


def _kind(error: BaseException) -> Kind:
    if isinstance(error, Diverged):
        return Kind.DIVERGED
    if isinstance(error, HubError):
        return Kind.FINAL
    if isinstance(error, OSError):
        return Kind.MEMORY if error.errno == errno.ENOMEM else Kind.FINAL
    if _is_lost_peer(error):
        return Kind.PEER
    import tensorflow as tf

    return Kind.MEMORY if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError) else Kind.FINAL


def _is_lost_peer(error: BaseException) -> bool:
    """Whether TensorFlow says that another worker does not answer."""
    import tensorflow as tf

    kinds = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    return isinstance(error, kinds) or (
        isinstance(error, tf.errors.InternalError) and "ollective" in str(error)
    )


def line(error: BaseException) -> str:
    """Type and message in one line, without the Python stack that TensorFlow puts into its messages.

    The hub's own errors are sentences: they go without their type.
    """
    noise = ("File ", "Graph execution error", "Detected at node", "[[{{node", "Traceback")
    lines = (line.strip() for line in str(error).splitlines())
    message = " ".join(line for line in lines if line and not line.startswith(noise))[:300]
    if isinstance(error, HubError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def of_job(error: str) -> Failed:
    """What Spark's report on a failed job comes to; it names no worker."""
    if lost := re.search(r"ExecutorLostFailure \([^)]*\)|Python worker (exited|failed)[^\n]*", error):
        return Failed(-1, f"Spark lost a worker: {lost[0].strip()}", Kind.LOST)
    cause = _first_error(error)
    if re.match(r"[\w.]*(Unavailable|Aborted|Cancelled|DeadlineExceeded)Error\b", cause):
        return Failed(-1, cause, Kind.PEER)
    return Failed(-1, cause, Kind.MEMORY if re.match(r"(\w+\.)*MemoryError\b", cause) else Kind.FINAL)


def _first_error(error: str) -> str:
    """The line that names the exception, of Spark's report on a failed job."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    told = [line for line in lines if "org.apache" not in line]
    python = (line for line in told if re.match(r"[\w.]*(Error|Exception): ", line))
    named = (line.lstrip(": ") for line in lines if re.match(r"[:\s]*[\w.]*(Error|Exception)\b", line))
    return next(python, None) or next(named, lines[0] if lines else "no cause given")


def told(failure: Failed) -> str:
    """A failure and whose it is, in one line."""
    return failure.cause if failure.worker < 0 else f"worker {failure.worker}: {failure.cause}"


@dataclass
class Attempts:
    """Decides whether a run is started again.

    Args:
        retries: how often, without another finished epoch in between.
    """

    retries: int
    _epochs: int = 0
    _row: int = 0
    _memory: int = 0

    def another(self, failure: Failed, epochs: int) -> bool:
        """Whether to start again after a failure, with so many epochs finished."""
        self._row = 1 if epochs > self._epochs else self._row + 1
        self._epochs = max(epochs, self._epochs)
        self._memory += failure.kind == Kind.MEMORY
        if failure.kind in (Kind.FINAL, Kind.DIVERGED) or self._memory > 1:
            return False
        return self._row <= self.retries

    def told(self, failure: Failed) -> str:
        """The failure that ended the run, and how often there was one."""
        if self._memory > 1:
            return f"{told(failure)}, for the second time: ask for a smaller --batch-size or train.cache_mb"
        if self._row > self.retries > 0 and failure.kind in (Kind.LOST, Kind.PEER):
            return f"{told(failure)}, {self._row} {_TIMES} = {self.retries})"
        return told(failure)
