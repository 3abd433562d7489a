"""SIGTERM and SIGHUP end a command as Ctrl-C does, so that it gives back what it holds."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@dataclass
class Termination:
    """The signal that ended the command, if one did."""

    received: signal.Signals | None = None

    @property
    def status(self) -> int | None:
        """The exit status of a command that a signal ended, as shells give it: 143 after SIGTERM."""
        return None if self.received is None else 128 + self.received


_current: list[Termination] = []


def received() -> bool:
    """Whether a signal has ended the running command; Ctrl-C is none."""
    return any(termination.received for termination in _current)


@contextmanager
def like_interrupt() -> Iterator[Termination]:
    """While the block runs, treat the first SIGTERM or SIGHUP as Ctrl-C, and ignore later ones.

    A signal that this process was started to ignore, as by nohup, stays ignored.
    """
    termination = Termination()

    def handler(number: int, frame: FrameType | None) -> None:
        if termination.received is None:
            termination.received = signal.Signals(number)
            _interrupt(frame)

    if threading.current_thread() is not threading.main_thread():
        yield termination
        return
    previous = {each: signal.getsignal(each) for each in _SIGNALS}
    handled = [each for each, before in previous.items() if before not in (signal.SIG_IGN, None)]
    for each in handled:
        signal.signal(each, handler)
    _current.append(termination)
    try:
        yield termination
    finally:
        _current.remove(termination)
        for each in handled:
            signal.signal(each, previous[each])


def _interrupt(frame: FrameType | None) -> None:
    """Do what Ctrl-C does now; in a background job, where it does nothing, interrupt all the same."""
    current = signal.getsignal(signal.SIGINT)
    if callable(current):
        current(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt
