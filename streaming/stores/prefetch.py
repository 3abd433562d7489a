"""Loading ahead of whoever reads, in order, within a bound of bytes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Prefetcher:
    """A pool that loads what will be asked for next.

    Args:
        threads: jobs that are worked on at once.
        budget: bytes that may be loaded or on their way; a job that alone exceeds it is loaded alone.
    """

    threads: int
    budget: int

    def map(self, load: Callable[[J], R], jobs: Iterable[J], size: Callable[[J], int]) -> Iterator[R]:
        """What `load` makes of each job, in the jobs' order; jobs are drawn only as they are begun.

        Args:
            size: bytes that a job will hold.
        """
        waiting: deque[tuple[Future[R], int]] = deque()
        held = 0
        pool = ThreadPoolExecutor(self.threads, "ahead")
        try:
            for job in jobs:
                need = size(job)
                while waiting and (held + need > self.budget or len(waiting) >= 2 * self.threads):
                    future, freed = waiting.popleft()
                    yield future.result()
                    held -= freed
                waiting.append((pool.submit(load, job), need))
                held += need
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
