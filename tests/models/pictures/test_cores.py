"""Work in threads: order, errors, and one core."""

import os
import threading
from collections.abc import Iterator

import pytest

from models.pictures import cores


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task with four cores, whatever this machine has."""
    monkeypatch.setattr(cores, "task_cores", lambda: 4)


def test_results_are_in_the_order_of_the_values_and_made_by_several_threads(four_cores: None) -> None:
    barrier = threading.Barrier(4, timeout=10)  # passes only if four run at the same time

    def work(value: int) -> int:
        barrier.wait()
        return -value

    assert list(cores.spread(work, range(8))) == [-value for value in range(8)]


def test_one_core_works_in_the_caller_s_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "task_cores", lambda: 1)
    own = threading.get_ident()
    assert set(cores.spread(lambda value: threading.get_ident(), range(3))) == {own}
    assert list(cores.ahead(iter([1, 2, 3]))) == [1, 2, 3]


def test_the_next_item_is_made_while_one_is_in_use(four_cores: None) -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    found = cores.ahead(items())
    assert next(found) == 1
    assert made.wait(10), "the second item was not begun while the first was in use"
    assert list(found) == [2]


def test_an_error_comes_after_the_items_before_it(four_cores: None) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    found = cores.ahead(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="gone"):
        next(found)


def test_outside_of_spark_a_process_has_the_cores_that_it_may_use() -> None:
    cores.task_cores.cache_clear()
    assert cores.task_cores() == len(os.sched_getaffinity(0))
