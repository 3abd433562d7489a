"""Watchdog over training workers: limits for start-up, missing heartbeats and missing progress."""

from dataclasses import dataclass

from conf.sections import Train
from models.messages import STEPPING, Alive, Disconnected, Done, Failed, Message, Stepped
from models.runs.run_state import RunState
from models.workers.worker_failures import FailureKind

SLOW_STEP_FACTOR = 10  # a step may take this many times as long as the slowest step so far
# Outside training steps heartbeats may be missing for longer: TensorFlow's converters block all threads, for
# 20 s with a ResNet-50 on a busy machine.
BLOCKED_FACTOR = 3
SILENT_SECONDS = 3.0  # a few heartbeats
# A worker that hangs stops the others, too. Its missing heartbeat must be noticed before their missing steps.
STEP_MARGIN = 1.25


@dataclass
class _WorkerStatus:
    """When a worker was last heard of and last made progress (monotonic seconds)."""

    heard_at: float
    progress_at: float
    moves: int = 0
    doing: str = ""
    slowest_step: float = 0.0


class Watchdog:
    """Checks the workers of an attempt against the time limits.

    Args:
        limits: timeouts of the settings.
        state: of the run, for the workers' processes.
        began: when the attempt began (monotonic seconds).
    """

    def __init__(self, limits: Train, state: RunState, began: float) -> None:
        self._limits, self._state, self._began = limits, state, began
        self._workers: dict[int, _WorkerStatus] = {}

    def add(self, message: Message | Disconnected, at: float) -> None:
        """Update a worker's status from a message received at `at`."""
        status = self._workers.setdefault(message.worker, _WorkerStatus(at, at))
        status.heard_at = at
        if isinstance(message, Stepped):
            status.doing = STEPPING
        if isinstance(message, Alive) and (message.moves, message.doing) != (status.moves, status.doing):
            if message.doing == status.doing == STEPPING:
                status.slowest_step = max(status.slowest_step, at - status.progress_at)
            status.moves, status.doing, status.progress_at = message.moves, message.doing, at
        if isinstance(message, Done | Disconnected | Failed):
            status.heard_at = status.progress_at = float("inf")  # no more messages are expected

    def ignore_pause(self, seconds: float) -> None:
        """Do not count time in which the driver was suspended: the workers may have been suspended, too."""
        self._began += seconds
        for status in self._workers.values():
            status.heard_at, status.progress_at = status.heard_at + seconds, status.progress_at + seconds

    def any_silent(self, now: float) -> bool:
        """Whether a worker has missed a few heartbeats."""
        return any(now - status.heard_at > SILENT_SECONDS for status in self._workers.values())

    def overdue(self, now: float) -> Failed | None:
        """Return a worker that exceeds a limit, missing heartbeats first; None if there is none."""
        missing = next(iter(set(range(self._state.workers)) - self._workers.keys()), None)
        if missing is not None and now - self._began > self._limits.start_seconds:
            return self._failed(missing, "did not start within", self._limits.start_seconds, "start_seconds")
        stall = self._limits.stall_seconds
        for worker, status in self._workers.items():
            silence = stall if status.doing == STEPPING else BLOCKED_FACTOR * stall
            if now - status.heard_at > silence:
                what = f"sent no heartbeat while {status.doing or 'starting'} for"
                return self._failed(worker, what, silence, "stall_seconds")
        for worker, status in self._workers.items():
            limit, setting = self._progress_limit(status)
            if now - status.progress_at > limit:
                what = f"made no progress while {status.doing or 'starting'} for"
                return self._failed(worker, what, limit, setting)
        return None

    def _progress_limit(self, status: _WorkerStatus) -> tuple[float, str]:
        """Seconds that a step, or a phase without steps, may take, and the setting's name."""
        if status.doing != STEPPING:
            return self._limits.work_seconds, "work_seconds"
        slow_step = SLOW_STEP_FACTOR * status.slowest_step
        return max(STEP_MARGIN * self._limits.stall_seconds, slow_step), "stall_seconds"

    def _failed(self, worker: int, what: str, seconds: float, setting: str) -> Failed:
        process = self._state.describe_process(worker)
        return Failed(worker, f"{process} {what} {seconds:.0f} s (train.{setting})", FailureKind.LOST)
