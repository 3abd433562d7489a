"""Failures of training workers: their kind, the retry policy, and error messages in one line."""

import errno
import re
from dataclasses import dataclass
from enum import StrEnum

from conf.errors import HubError
from models.errors import Diverged, InputProcessLost
from models.messages import Failed

_WITHOUT_PROGRESS = "times in a row without finishing another epoch (train.retries"


class FailureKind(StrEnum):
    """Why a worker failed; decides whether the run is retried."""

    PEER = "peer"  # secondary failure: another worker was lost
    LOST = "lost"  # process, executor or machine ended or hangs; retried
    MEMORY = "memory"  # out of memory; retried once
    FINAL = "final"  # any other error; not retried
    DIVERGED = "diverged"  # NaN or infinite loss or weights; not retried, and the run cannot be resumed


def from_exception(worker: int, error: BaseException) -> Failed:
    """The message that a worker sends to the driver after an exception."""
    return Failed(worker, one_line(error), _kind(error))


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, Diverged):
        return FailureKind.DIVERGED
    if isinstance(error, HubError):
        return FailureKind.FINAL
    if isinstance(error, OSError):
        return FailureKind.MEMORY if error.errno == errno.ENOMEM else FailureKind.FINAL
    if _is_lost_peer(error):
        return FailureKind.PEER
    if InputProcessLost.__name__ in str(error):  # as tf.data reports it
        return FailureKind.LOST
    import tensorflow as tf

    return (
        FailureKind.MEMORY
        if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)
        else FailureKind.FINAL
    )


def _is_lost_peer(error: BaseException) -> bool:
    """Whether a TensorFlow error means that another worker does not respond."""
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


def one_line(error: BaseException) -> str:
    """Type and message of an error in one line, without the Python stack in TensorFlow's messages.

    The type is left out for the hub's own errors, whose messages are sentences.
    """
    noise = ("File ", "Graph execution error", "Detected at node", "[[{{node", "Traceback")
    lines = (line.strip() for line in str(error).splitlines())
    message = " ".join(line for line in lines if line and not line.startswith(noise))[:300]
    if isinstance(error, HubError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def from_spark_report(error: str) -> Failed:
    """Convert Spark's report of a failed job; it does not say which worker failed."""
    if lost := re.search(r"ExecutorLostFailure \([^)]*\)|Python worker (exited|failed)[^\n]*", error):
        return Failed(-1, f"Spark lost a worker: {lost[0].strip()}", FailureKind.LOST)
    cause = _first_error(error)
    if re.match(r"[\w.]*(Unavailable|Aborted|Cancelled|DeadlineExceeded)Error\b", cause):
        return Failed(-1, cause, FailureKind.PEER)
    memory = re.match(r"(\w+\.)*MemoryError\b", cause)
    return Failed(-1, cause, FailureKind.MEMORY if memory else FailureKind.FINAL)


def _first_error(error: str) -> str:
    """Find the line that names the exception in Spark's report, a Python exception first."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    without_spark = [line for line in lines if "org.apache" not in line]
    python = (line for line in without_spark if re.match(r"[\w.]*(Error|Exception): ", line))
    java = (line.lstrip(": ") for line in lines if re.match(r"[:\s]*[\w.]*(Error|Exception)\b", line))
    return next(python, None) or next(java, lines[0] if lines else "no cause given")


def describe(failure: Failed) -> str:
    """Describe a failure with its worker in one line."""
    return failure.cause if failure.worker < 0 else f"worker {failure.worker}: {failure.cause}"


@dataclass
class RetryPolicy:
    """Counts the failures of a run and decides whether to restart it.

    Args:
        retries: consecutive restarts without another finished epoch in between.
    """

    retries: int
    _finished_epochs: int = 0
    _consecutive: int = 0
    _out_of_memory: int = 0

    def should_retry(self, failure: Failed, epochs: int) -> bool:
        """Count a failure after `epochs` finished epochs, and decide whether to restart the run."""
        self._consecutive = 1 if epochs > self._finished_epochs else self._consecutive + 1
        self._finished_epochs = max(epochs, self._finished_epochs)
        self._out_of_memory += failure.kind == FailureKind.MEMORY
        if failure.kind in (FailureKind.FINAL, FailureKind.DIVERGED) or self._out_of_memory > 1:
            return False
        return self._consecutive <= self.retries

    def describe(self, failure: Failed) -> str:
        """Describe the failure that ended the run, with the number of attempts."""
        text = describe(failure)
        if self._out_of_memory > 1:
            return f"{text}, for the second time: ask for a smaller --batch-size or train.cache_mb"
        if self._consecutive > self.retries > 0 and failure.kind in (FailureKind.LOST, FailureKind.PEER):
            return f"{text}, {self._consecutive} {_WITHOUT_PROGRESS} = {self.retries})"
        return text
