"""The lease that keeps a lake on S3 to one writer, against a real store."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.errors import StorageError
from lake.locks.lease import _Lease
from lake.locks.lock_holder import LockHolder
from streaming.errors import LakeInUse
from streaming.ledger import lake_lease
from tests.support.commands import ROOT
from tests.support.s3server import Between, Bucket
from tests.support.waiting import comes_true

SECONDS = 3.0  # S3 tells ages in whole seconds
HOLD = """
import sys, threading
from conf import settings
from streaming import lease
with lease.held(settings.load(), "ingest"):
    print("held", flush=True)
    threading.Event().wait(120)
"""


@pytest.fixture
def own(settings: Settings, bucket: Bucket) -> Settings:
    return settings.model_copy(
        update={
            "s3": bucket.s3,
            "lake": Lake(root=f"s3a://{bucket.name}/lake"),
            "ingest": settings.ingest.model_copy(update={"lease_seconds": SECONDS}),
        }
    )


def reached_at(own: Settings, endpoint: str) -> Settings:
    return own.model_copy(update={"s3": own.s3.model_copy(update={"endpoint": endpoint})})


def is_free(own: Settings) -> bool:
    try:
        lake_lease.refuse_if_held(own)
    except LakeInUse:
        return False
    return True


@contextmanager
def killed(own: Settings, output: Path) -> Iterator[int]:
    """A process that held the lease and was killed; its pid."""
    variables = {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__INGEST__LEASE_SECONDS": "6",
        "HUB__S3__ENDPOINT": own.s3.endpoint,
        "HUB__S3__PATH_STYLE": "true",
        "PYTHONPATH": str(ROOT),
    }
    with output.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", HOLD], env=os.environ | variables, stdout=file)
    try:
        assert comes_true(lambda: output.read_bytes() == b"held\n", 60)
    finally:
        process.kill()
        process.wait()
    yield process.pid


def test_the_second_is_refused_and_told_who_was_first(own: Settings) -> None:
    with lake_lease.held(own, "erase"):
        with pytest.raises(LakeInUse, match=f"in use by `hub erase` on .* pid {os.getpid()},"):
            lake_lease.refuse_if_held(own)
        with pytest.raises(LakeInUse, match="stop it"), lake_lease.held(own, "ingest"):
            pass
    with lake_lease.held(own, "ingest"):  # it was given back
        pass


def test_of_many_who_come_at_once_one_keeps_it(own: Settings) -> None:
    """This server looks and writes in two steps, so a second may be let in; it is told when it renews."""
    got: list[int] = []
    lost: set[int] = set()
    barrier, done = threading.Barrier(6), threading.Event()

    def claim(number: int) -> None:
        barrier.wait(30)
        try:
            with lake_lease.held(own, "ingest", lambda why: lost.add(number)):
                got.append(number)
                done.wait(30)
        except LakeInUse:
            refused.append(number)

    refused: list[int] = []
    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    settled = comes_true(lambda: len(got) + len(refused) == 6 and len(got) - len(lost) == 1, 60)
    done.set()
    for thread in threads:
        thread.join()
    assert settled, f"{got} got it, {lost} lost it, {refused} were refused"


def test_it_is_kept_for_longer_than_it_lasts(own: Settings) -> None:
    lost: list[str] = []
    with lake_lease.held(own, "ingest", lost.append):
        until = time.monotonic() + 2 * SECONDS
        assert comes_true(lambda: time.monotonic() > until or is_free(own), 3 * SECONDS)
        assert not is_free(own)
    assert not lost


def test_a_killed_holder_is_followed_once_its_lease_has_ended(own: Settings, tmp_path: Path) -> None:
    with killed(own, tmp_path / "out") as pid:
        with pytest.raises(LakeInUse, match=f"pid {pid}.* where it was killed wait"):
            lake_lease.refuse_if_held(own)
        assert comes_true(lambda: is_free(own), 5 * SECONDS)
        with lake_lease.held(own, "ingest"):
            assert not is_free(own)


def test_who_loses_it_is_told(own: Settings, bucket: Bucket) -> None:
    lost = threading.Event()
    why: list[str] = []

    def tell(text: str) -> None:
        why.append(text)
        lost.set()

    with lake_lease.held(own, "ingest", tell):
        bucket.put({"lake/ingest.lock": LockHolder.this("erase").content()})
        assert lost.wait(2 * SECONDS)
    assert "another process took the lease" in why[0]
    assert bucket.keys() == ["lake/ingest.lock"], "the other's lease was taken away"


@pytest.mark.parametrize("answer", [503, "stall"])
def test_a_store_that_is_away_ends_it_before_others_may_take_it(own: Settings, answer: int | str) -> None:
    lost: list[float] = []
    spoilt = threading.Event()
    between = Between(
        own.s3.endpoint.removeprefix("http://"),
        lambda method, path: answer if spoilt.is_set() else None,
    )
    with between.running() as endpoint:
        with lake_lease.held(reached_at(own, endpoint), "ingest", lambda why: lost.append(time.monotonic())):
            begun = time.monotonic()
            spoilt.set()
            assert comes_true(lambda: bool(lost), 3 * SECONDS)
            assert lost[0] - begun < SECONDS + 1
        with pytest.raises(StorageError, match="cannot read s3a://"):
            lake_lease.refuse_if_held(reached_at(own, endpoint))


@pytest.mark.parametrize("attempt", ["blocks", "breaks"])
def test_it_is_given_up_in_time_whatever_becomes_of_an_attempt(
    own: Settings, monkeypatch: pytest.MonkeyPatch, attempt: str
) -> None:
    """A store's name may have several addresses, each with its own time limit, and it may answer anything."""
    lost: list[str] = []
    free = threading.Event()

    def look(_: object) -> None:
        if attempt == "breaks":
            raise KeyError("LastModified")
        free.wait(60)

    with lake_lease.held(own, "ingest", lost.append):
        begun = time.monotonic()
        monkeypatch.setattr(_Lease, "_look", look)
        assert comes_true(lambda: bool(lost), 3 * SECONDS)
        assert time.monotonic() - begun < SECONDS
        free.set()
        monkeypatch.undo()
    assert len(lost) == 1
    assert ("LastModified" if attempt == "breaks" else "does not answer") in lost[0]


@pytest.mark.parametrize("times", [1, 4])
def test_an_object_that_is_shown_without_its_tag_for_a_moment_is_looked_at_again(
    own: Settings, times: int
) -> None:
    """As the store of these tests shows one that is being replaced."""
    spoilt = threading.Event()
    left = [times]

    def spoil(method: str, path: str) -> str | None:
        if not spoilt.is_set() or method != "GET" or not left[0]:
            return None
        left[0] -= 1
        return "untagged"

    lost: list[str] = []
    with (
        Between(own.s3.endpoint.removeprefix("http://"), spoil).running() as endpoint,
        lake_lease.held(reached_at(own, endpoint), "ingest", lost.append),
    ):
        spoilt.set()
        assert comes_true(lambda: not left[0], 2 * SECONDS)
        until = time.monotonic() + SECONDS
        assert comes_true(lambda: time.monotonic() > until or is_free(own), 2 * SECONDS)
        assert not is_free(own), "it was no longer renewed"
    assert not lost


def test_a_store_that_never_shows_a_tag_is_told_of(own: Settings) -> None:
    lost: list[str] = []
    spoilt = threading.Event()
    between = Between(
        own.s3.endpoint.removeprefix("http://"),
        lambda method, path: "untagged" if spoilt.is_set() and method == "GET" else None,
    )
    with between.running() as endpoint:
        with lake_lease.held(reached_at(own, endpoint), "ingest", lost.append):
            spoilt.set()
            assert comes_true(lambda: bool(lost), 3 * SECONDS)
        assert "without an ETag" in lost[0]
        again = lake_lease.held(reached_at(own, endpoint), "ingest")
        with pytest.raises(StorageError, match=r"cannot write s3a://.*without an ETag"), again:
            pass
