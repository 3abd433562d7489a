"""Polling a condition until a deadline."""

import socket
import threading
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Poll a condition; False if it does not hold within the given time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.05)
    return True


def port_is_open(bootstrap: str) -> bool:
    """Whether something listens at host:port."""
    host, _, port = bootstrap.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0
