"""Whether the embedded broker runs, and where: a lock that its supervisor holds, and a file that it keeps."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from conf.sections import Broker
from local.kraft import write


@dataclass(frozen=True)
class State:
    """A running broker.

    Args:
        bootstrap: where clients connect.
        pid: of the supervisor.
        started: RFC 3339.
        leashed: whether it stops together with the command that started it.
    """

    bootstrap: str
    pid: int
    started: str
    leashed: bool


def running(settings: Broker) -> State | None:
    """The broker that runs on this folder and answers, if there is one.

    The file alone proves nothing, its process may be long gone; the lock falls when the process does.
    """
    if holder(settings) is None:
        return None
    try:
        return State(**json.loads(_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def holder(settings: Broker) -> int | None:
    """The process id of the supervisor that holds the lock, be its broker starting, up or stopping."""
    try:
        descriptor = os.open(_lock(settings), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # Between taking the lock and writing the id there is a moment without one.
        return int(os.read(descriptor, 20) or 0) or None
    else:
        return None
    finally:
        os.close(descriptor)


def lock(settings: Broker) -> int | None:
    """Take the lock for as long as the returned descriptor, or a copy of it in a child, is open."""
    settings.dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_lock(settings), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    _file(settings).unlink(missing_ok=True)  # of a supervisor that was killed
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def keep(settings: Broker, state: State) -> None:
    """Tell others that the broker is up."""
    write(_file(settings), json.dumps(asdict(state), indent=1) + "\n")


def forget(settings: Broker) -> None:
    """Tell others that the broker is going."""
    _file(settings).unlink(missing_ok=True)


def _lock(settings: Broker) -> Path:
    return settings.dir / "broker.lock"


def _file(settings: Broker) -> Path:
    return settings.dir / "broker.json"
