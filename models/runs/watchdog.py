"""Who is overdue: workers that do not come, processes that fall silent, work that stands still."""

from dataclasses import dataclass

from conf.sections import Train
from models.messages import STEPPING, Alive, Disconnected, Done, Failed, Message, Stepped
from models.runs.run_state import RunState
from models.workers.worker_failures import Kind

SLOWER = 10  # a step may take so many times as long as the slowest before it
DEAF = 3  # TensorFlow's converters let no other thread run, for 20 s with a ResNet-50 on a busy machine
QUIET_SECONDS = 3.0  # some signs of life
MARGIN = 1.25  # one that hangs makes the others stand still: it is to be found first


@dataclass
class _Sign:
    """The last signs of a worker (monotonic seconds)."""

    heard: float
    moved: float
    moves: int = 0
    doing: str = ""
    slowest: float = 0.0


class Watchdog:
    """Holds an attempt's workers to the limits.

    Args:
        limits: of the settings.
        record: of the run, for the workers' processes.
        began: when the attempt did.
    """

    def __init__(self, limits: Train, record: RunState, began: float) -> None:
        self._limits, self._record, self._began = limits, record, began
        self._signs: dict[int, _Sign] = {}

    def add(self, message: Message | Disconnected, at: float) -> None:
        """Take in a message."""
        sign = self._signs.setdefault(message.worker, _Sign(at, at))
        sign.heard = at
        if isinstance(message, Stepped):
            sign.doing = STEPPING
        if isinstance(message, Alive) and (message.moves, message.doing) != (sign.moves, sign.doing):
            if message.doing == sign.doing == STEPPING:
                sign.slowest = max(sign.slowest, at - sign.moved)
            sign.moves, sign.doing, sign.moved = message.moves, message.doing, at
        if isinstance(message, Done | Disconnected | Failed):
            sign.heard = sign.moved = float("inf")  # nothing more is expected

    def pause(self, seconds: float) -> None:
        """Do not count time in which the driver itself stood still: the workers may have stood, too."""
        self._began += seconds
        for sign in self._signs.values():
            sign.heard, sign.moved = sign.heard + seconds, sign.moved + seconds

    def quiet(self, now: float) -> bool:
        """Whether there is a worker of which it is not known that it lives."""
        return any(now - sign.heard > QUIET_SECONDS for sign in self._signs.values())

    def overdue(self, now: float) -> Failed | None:
        """The worker that is over a limit, those that are silent first; None while all are within."""
        missing = next(iter(set(range(self._record.workers)) - self._signs.keys()), None)
        if missing is not None and now - self._began > self._limits.start_seconds:
            return self._failed(missing, "did not start", self._limits.start_seconds, "start_seconds")
        stall = self._limits.stall_seconds
        for worker, sign in self._signs.items():
            patience = stall if sign.doing == STEPPING else DEAF * stall
            if now - sign.heard > patience:
                what = f"was silent while {sign.doing or 'starting'}"
                return self._failed(worker, what, patience, "stall_seconds")
        for worker, sign in self._signs.items():
            stepping = sign.doing == STEPPING
            limit = max(MARGIN * stall, SLOWER * sign.slowest) if stepping else self._limits.work_seconds
            if now - sign.moved > limit:
                name = "stall_seconds" if stepping else "work_seconds"
                return self._failed(worker, f"got no further while {sign.doing or 'starting'}", limit, name)
        return None

    def _failed(self, worker: int, what: str, seconds: float, setting: str) -> Failed:
        process = self._record.process(worker)
        return Failed(worker, f"{process} {what} for {seconds:.0f} s (train.{setting})", Kind.LOST)
