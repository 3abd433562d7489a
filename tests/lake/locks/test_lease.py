"""The lease on an S3 lake that excludes a second writer, tested against a real store."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.errors import StorageError
from lake.locks import proof_of_life
from lake.locks.lock_holder import LockHolder
from lake.locks.s3_lease import S3Lease
from streaming.errors import LakeInUse
from streaming.ledger import lake_lease
from tests.support.commands import ROOT
from tests.support.s3server import Bucket, FaultProxy
from tests.support.waiting import wait_until

SECONDS = 3.0  # S3 gives times in whole seconds
HOLD = """
import sys, threading
from conf import settings
from streaming.ledger import lake_lease
with lake_lease.held(settings.load(), "ingest"):
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


def with_endpoint(own: Settings, endpoint: str) -> Settings:
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
        assert wait_until(lambda: output.read_bytes() == b"held\n", 60)
    finally:
        process.kill()
        process.wait()
    yield process.pid


def test_a_second_holder_is_refused_and_the_first_is_named(own: Settings) -> None:
    with lake_lease.held(own, "erase"):
        with pytest.raises(LakeInUse, match=f"in use by `hub erase` on .* pid {os.getpid()},"):
            lake_lease.refuse_if_held(own)
        with pytest.raises(LakeInUse, match="stop it"), lake_lease.held(own, "ingest"):
            pass
    with lake_lease.held(own, "ingest"):  # the first lease was released
        pass


def test_of_many_processes_that_acquire_it_at_once_one_keeps_it(own: Settings) -> None:
    """This server checks and writes in two steps, so two may acquire it; one of them loses it on renewal."""
    got: list[int] = []
    lost: set[int] = set()
    barrier, done = threading.Barrier(6), threading.Event()

    def acquire(number: int) -> None:
        barrier.wait(30)
        try:
            with lake_lease.held(own, "ingest", lambda why: lost.add(number)):
                got.append(number)
                done.wait(30)
        except LakeInUse:
            refused.append(number)

    refused: list[int] = []
    threads = [threading.Thread(target=acquire, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    settled = wait_until(lambda: len(got) + len(refused) == 6 and len(got) - len(lost) == 1, 60)
    done.set()
    for thread in threads:
        thread.join()
    assert settled, f"{got} got it, {lost} lost it, {refused} were refused"


def test_it_is_renewed_before_it_expires(own: Settings) -> None:
    lost: list[str] = []
    with lake_lease.held(own, "ingest", lost.append):
        until = time.monotonic() + 2 * SECONDS
        assert wait_until(lambda: time.monotonic() > until or is_free(own), 3 * SECONDS)
        assert not is_free(own)
    assert not lost


def test_the_lease_of_a_killed_holder_of_this_machine_is_free_at_once(own: Settings, tmp_path: Path) -> None:
    long = own.model_copy(update={"ingest": own.ingest.model_copy(update={"lease_seconds": 3600.0})})
    with killed(own, tmp_path / "out"):
        lake_lease.refuse_if_held(long)
        with lake_lease.held(long, "ingest"):
            assert not is_free(long)
        assert not any((own.spark.work_dir / "leases").iterdir()), "a proof was left behind"


def test_another_process_with_the_id_of_a_killed_holder_does_not_keep_its_lease(
    own: Settings, bucket: Bucket, tmp_path: Path
) -> None:
    """In containers many processes have the same id."""
    with killed(own, tmp_path / "out"):
        content = json.loads(
            bucket.client.get_object(Bucket=bucket.name, Key="lake/ingest.lock")["Body"].read()
        )
        bucket.put({"lake/ingest.lock": json.dumps(content | {"pid": os.getpid()}).encode()})
        assert is_free(own)


def test_a_holder_whose_proof_cannot_be_opened_here_keeps_its_lease(own: Settings, tmp_path: Path) -> None:
    """It may run in a container with other volumes."""
    with lake_lease.held(own, "ingest"):
        for proof in (own.spark.work_dir / "leases").iterdir():
            proof.rename(tmp_path / proof.name)
        assert not is_free(own)


def test_a_lease_cannot_name_a_file_for_deletion(own: Settings, bucket: Bucket, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    holder = replace(LockHolder.this_process("ingest", tmp_path), proof=str(victim))
    bucket.put({"lake/ingest.lock": holder.to_json()})
    with lake_lease.held(own, "ingest"):
        assert victim.exists()


def test_the_lease_of_a_killed_holder_of_another_machine_is_free_when_it_has_expired(
    own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed(own, tmp_path / "out") as pid:
        monkeypatch.setattr(proof_of_life, "boot_id", lambda: "another")
        with pytest.raises(LakeInUse, match=f"pid {pid}.* if it was killed, wait"):
            lake_lease.refuse_if_held(own)
        assert wait_until(lambda: is_free(own), 5 * SECONDS)
        with lake_lease.held(own, "ingest"):
            assert not is_free(own)


def test_a_loss_is_reported_with_its_reason(own: Settings, bucket: Bucket) -> None:
    lost = threading.Event()
    why: list[str] = []

    def on_loss(text: str) -> None:
        why.append(text)
        lost.set()

    with lake_lease.held(own, "ingest", on_loss):
        bucket.put({"lake/ingest.lock": LockHolder.this_process("erase").to_json()})
        assert lost.wait(2 * SECONDS)
    assert "another process took the lease" in why[0]
    assert bucket.keys() == ["lake/ingest.lock"], "the other process's lease was deleted"


@pytest.mark.parametrize("answer", [503, "stall"])
def test_with_an_unavailable_store_it_is_lost_before_others_can_acquire_it(
    own: Settings, answer: int | str
) -> None:
    lost: list[float] = []
    unavailable = threading.Event()
    proxy = FaultProxy(
        own.s3.endpoint.removeprefix("http://"),
        lambda method, path: answer if unavailable.is_set() else None,
    )
    with proxy.running() as endpoint:
        with lake_lease.held(
            with_endpoint(own, endpoint), "ingest", lambda why: lost.append(time.monotonic())
        ):
            begun = time.monotonic()
            unavailable.set()
            assert wait_until(lambda: bool(lost), 3 * SECONDS)
            assert lost[0] - begun < SECONDS + 1
        with pytest.raises(StorageError, match="cannot read s3a://"):
            lake_lease.refuse_if_held(with_endpoint(own, endpoint))


@pytest.mark.parametrize("attempt", ["blocks", "breaks"])
def test_it_expires_in_time_even_if_a_renewal_blocks_or_fails(
    own: Settings, monkeypatch: pytest.MonkeyPatch, attempt: str
) -> None:
    """A store's host name may have several addresses, each with a timeout; its answer may be anything."""
    lost: list[str] = []
    unblock = threading.Event()

    def read(_: object) -> None:
        if attempt == "breaks":
            raise KeyError("LastModified")
        unblock.wait(60)

    with lake_lease.held(own, "ingest", lost.append):
        begun = time.monotonic()
        monkeypatch.setattr(S3Lease, "_read", read)
        assert wait_until(lambda: bool(lost), 3 * SECONDS)
        assert time.monotonic() - begun < SECONDS
        unblock.set()
        monkeypatch.undo()
    assert len(lost) == 1
    assert ("LastModified" if attempt == "breaks" else "does not answer") in lost[0]


@pytest.mark.parametrize("times", [1, 4])
def test_an_object_that_is_served_without_an_etag_is_read_again(own: Settings, times: int) -> None:
    """The store of these tests omits the ETag while an object is being replaced."""
    untagged = threading.Event()
    left = [times]

    def omit_etag(method: str, path: str) -> str | None:
        if not untagged.is_set() or method != "GET" or not left[0]:
            return None
        left[0] -= 1
        return "untagged"

    lost: list[str] = []
    with (
        FaultProxy(own.s3.endpoint.removeprefix("http://"), omit_etag).running() as endpoint,
        lake_lease.held(with_endpoint(own, endpoint), "ingest", lost.append),
    ):
        untagged.set()
        assert wait_until(lambda: not left[0], 2 * SECONDS)
        until = time.monotonic() + SECONDS
        assert wait_until(lambda: time.monotonic() > until or is_free(own), 2 * SECONDS)
        assert not is_free(own), "it was no longer renewed"
    assert not lost


def test_a_store_that_never_serves_an_etag_is_reported(own: Settings) -> None:
    lost: list[str] = []
    untagged = threading.Event()
    proxy = FaultProxy(
        own.s3.endpoint.removeprefix("http://"),
        lambda method, path: "untagged" if untagged.is_set() and method == "GET" else None,
    )
    with proxy.running() as endpoint:
        with lake_lease.held(with_endpoint(own, endpoint), "ingest", lost.append):
            untagged.set()
            assert wait_until(lambda: bool(lost), 3 * SECONDS)
        assert "without an ETag" in lost[0]
        again = lake_lease.held(with_endpoint(own, endpoint), "ingest")
        with pytest.raises(StorageError, match=r"cannot write s3a://.*without an ETag"), again:
            pass
