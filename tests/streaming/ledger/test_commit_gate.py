"""The gate between commits and the end of an ingestion."""

import threading
import time

import pytest

from streaming.errors import IngestFailed
from streaming.ledger.commit_gate import CommitGate
from tests.support.waiting import comes_true


def test_closing_waits_for_the_commit_that_is_on_its_way_and_lets_no_other_through() -> None:
    gate, inside, go_on, done = CommitGate(), threading.Event(), threading.Event(), []

    def commit() -> None:
        with gate.passage():
            inside.set()
            go_on.wait(20)
            done.append("committed")

    def close() -> None:
        gate.close(20)
        done.append("closed")

    threads = [threading.Thread(target=work) for work in (commit, close)]
    threads[0].start()
    assert inside.wait(20)
    threads[1].start()
    assert comes_true(gate._passing.locked) and not done
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert done == ["committed", "closed"]
    with pytest.raises(IngestFailed, match="the next ingest takes it"), gate.passage():
        pytest.fail("something was let through")


def test_closing_waits_no_longer_than_it_is_told() -> None:
    gate, go_on = CommitGate(), threading.Event()
    inside = threading.Event()

    def commit() -> None:
        with gate.passage():
            inside.set()
            go_on.wait(20)

    thread = threading.Thread(target=commit)
    thread.start()
    assert inside.wait(20)
    begun = time.monotonic()
    gate.close(0)
    assert time.monotonic() - begun < 10
    go_on.set()
    thread.join(20)
    with pytest.raises(IngestFailed), gate.passage():
        pytest.fail("something was let through")
