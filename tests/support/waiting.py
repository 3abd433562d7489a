"""Waiting for a condition, with a deadline."""

import socket
import threading
import time
from collections.abc import Callable


def comes_true(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether the condition holds before the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.05)
    return True


def is_open(bootstrap: str) -> bool:
    """Whether something listens at host:port."""
    host, _, port = bootstrap.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0
