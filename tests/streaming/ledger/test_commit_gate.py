"""The commit gate: a running commit finishes before an ingestion stops, and no other starts."""

import threading
import time

import pytest

from streaming.errors import IngestFailed
from streaming.ledger.commit_gate import CommitGate
from tests.support.waiting import wait_until


def test_closing_waits_for_the_running_commit_and_allows_no_other() -> None:
    gate, inside, go_on, done = CommitGate(), threading.Event(), threading.Event(), []

    def commit() -> None:
        with gate.commit_section():
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
    assert wait_until(gate._lock.locked) and not done
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert done == ["committed", "closed"]
    with pytest.raises(IngestFailed, match="the next ingest processes it"), gate.commit_section():
        pytest.fail("a commit was allowed")


def test_closing_waits_no_longer_than_its_timeout() -> None:
    gate, go_on = CommitGate(), threading.Event()
    inside = threading.Event()

    def commit() -> None:
        with gate.commit_section():
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
    with pytest.raises(IngestFailed), gate.commit_section():
        pytest.fail("a commit was allowed")
