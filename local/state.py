"""State of the embedded broker: a file lock that its supervisor holds, and a file with its address."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from conf.sections import Broker
from local.kraft import write_atomically


@dataclass(frozen=True)
class State:
    """A running broker.

    Args:
        bootstrap: address for clients.
        pid: of the supervisor.
        started: RFC 3339.
        leashed: whether the broker stops when the process that started it ends.
    """

    bootstrap: str
    pid: int
    started: str
    leashed: bool


def running(settings: Broker) -> State | None:
    """The running broker of this folder, if it answers to clients.

    The state file can be left over from a process that was killed. The lock cannot: the OS releases it.
    """
    if holder(settings) is None:
        return None
    try:
        return State(**json.loads(_state_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def holder(settings: Broker) -> int | None:
    """The process id of the supervisor that holds the lock; its broker is starting, running or stopping."""
    try:
        descriptor = os.open(_lock_file(settings), os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # `hub up` says what is wrong
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # The id is written just after the lock is acquired, so it can be missing for a moment.
        return int(os.read(descriptor, 20) or 0) or None
    else:
        return None
    finally:
        os.close(descriptor)


def lock(settings: Broker) -> int | None:
    """Acquire the lock. It is held while the returned descriptor, or a child's copy of it, is open.

    Returns:
        the descriptor, or None if another process holds the lock.
    """
    settings.dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_lock_file(settings), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    _state_file(settings).unlink(missing_ok=True)  # left by a supervisor that was killed
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def save(settings: Broker, state: State) -> None:
    """Write the state file: the broker is up."""
    write_atomically(_state_file(settings), json.dumps(asdict(state), indent=1) + "\n")


def clear(settings: Broker) -> None:
    """Delete the state file: the broker is stopping."""
    _state_file(settings).unlink(missing_ok=True)


def _lock_file(settings: Broker) -> Path:
    return settings.dir / "broker.lock"


def _state_file(settings: Broker) -> Path:
    return settings.dir / "broker.json"
