"""Prefetch in a thread pool: results in order, memory bounded in bytes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Prefetcher:
    """Loads the next results in background threads while the caller works on the current one.

    Args:
        threads: jobs that run at the same time.
        budget: maximum bytes of loaded and running jobs; a job that is larger than the budget runs alone.
    """

    threads: int
    budget: int

    def map(self, load: Callable[[J], R], jobs: Iterable[J], size: Callable[[J], int]) -> Iterator[R]:
        """Yield `load(job)` for each job, in order. A job is taken from the iterator only when it can start.

        Args:
            size: bytes that a job's result will need.
        """
        pending: deque[tuple[Future[R], int]] = deque()
        in_memory = 0
        pool = ThreadPoolExecutor(self.threads, "ahead")
        try:
            for job in jobs:
                needed = size(job)
                while pending and (in_memory + needed > self.budget or len(pending) >= 2 * self.threads):
                    future, freed = pending.popleft()
                    yield future.result()
                    in_memory -= freed
                pending.append((pool.submit(load, job), needed))
                in_memory += needed
            while pending:
                yield pending.popleft()[0].result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
