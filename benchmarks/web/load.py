"""Requests with their times: one after another, and many at a time."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import numpy as np


@dataclass(frozen=True)
class Times:
    """Times of requests (ms), and requests a second."""

    name: str
    requests: int
    median: float
    p95: float
    worst: float
    rate: float

    @classmethod
    def of(cls, name: str, seconds: Sequence[float], total: float) -> "Times":
        """Of the seconds of each request, and of all together."""
        milliseconds = np.array(seconds) * 1000
        median, p95 = np.percentile(milliseconds, (50, 95))
        return cls(
            name, len(seconds), float(median), float(p95), float(milliseconds.max()), len(seconds) / total
        )


def measure(
    name: str,
    send: Callable[[httpx.Client, int], httpx.Response],
    url: str,
    count: int,
    clients: int = 1,
    status: int = 200,
) -> Times:
    """Send requests and time each from the first byte sent to the last byte received.

    Args:
        name: of what is measured.
        send: sends the request of a number.
        url: of the server.
        count: requests in all.
        clients: at a time, each with a connection of its own.
        status: of every answer; another one ends the benchmark.
    """  # fmt: skip

    def run(worker: int) -> list[float]:
        seconds = []
        with httpx.Client(base_url=url, timeout=60) as client:
            send(client, worker)  # connects
            for number in range(worker, count, clients):
                begun = time.perf_counter()
                answer = send(client, number)
                seconds.append(time.perf_counter() - begun)
                assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text[:200]}"
        return seconds

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds = [each for one in pool.map(run, range(clients)) for each in one]
    return Times.of(name, seconds, time.perf_counter() - begun)
