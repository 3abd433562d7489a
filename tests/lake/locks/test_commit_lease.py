"""Processes that write the same table on S3 commit one after the other; everywhere they wait for a purge."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.locks import commit_lease
from lake.table import Table
from tests.support.commands import ROOT
from tests.support.s3server import Bucket
from tests.support.waiting import wait_until

COUNT = """
import sys
import boto3
from conf import settings
from lake.locks import commit_lease
from lake.table import Table
own = settings.load()
s3, bucket, times = boto3.client("s3", endpoint_url=own.s3.endpoint), sys.argv[1], int(sys.argv[2])
for _ in range(times):
    with commit_lease.held(own, Table.SAMPLES):
        count = int(s3.get_object(Bucket=bucket, Key="count")["Body"].read())
        s3.put_object(Bucket=bucket, Key="count", Body=str(count + 1).encode())
"""
HOLD = """
import threading
from conf import settings
from lake.locks import commit_lease
from lake.table import Table
with commit_lease.held(settings.load(), Table.SAMPLES):
    print("held", flush=True)
    threading.Event().wait(120)
"""


@pytest.fixture
def own(settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake on S3, for this process and for those that it starts."""
    root = f"s3a://{bucket.name}/lake"
    for name, value in {
        "HUB__LAKE__ROOT": root,
        "HUB__S3__ENDPOINT": bucket.s3.endpoint,
        "HUB__SPARK__WORK_DIR": str(settings.spark.work_dir),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }.items():
        monkeypatch.setenv(name, value)
    return settings.model_copy(update={"s3": bucket.s3, "lake": Lake(root=root)})


def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.services
def test_of_changes_that_read_and_write_none_is_lost(own: Settings, bucket: Bucket) -> None:
    bucket.put({"count": b"0"})
    writers = [start(COUNT, bucket.name, "6") for _ in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert bucket.client.get_object(Bucket=bucket.name, Key="count")["Body"].read() == b"18"
    assert bucket.keys() == ["count"]  # no lease is left


@pytest.mark.services
def test_after_a_holder_was_killed_the_next_commits_at_once(own: Settings) -> None:
    other, committed = start(HOLD), threading.Event()
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"

        def commit() -> None:
            with commit_lease.held(own, Table.SAMPLES):
                committed.set()

        waiting = threading.Thread(target=commit)
        waiting.start()
        assert not committed.wait(1)
        other.send_signal(signal.SIGKILL)
        assert wait_until(committed.is_set, 20)  # the lease itself would last for a minute
        waiting.join(20)
    finally:
        other.kill()
        other.wait(20)


def test_elsewhere_commits_share_the_lock_and_a_purge_waits_for_them(
    settings: Settings, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path))})
    alone = threading.Event()

    def purge() -> None:
        with commit_lease.held_alone(own, Table.SAMPLES):
            alone.set()

    purging = threading.Thread(target=purge)
    with commit_lease.held(own, Table.SAMPLES), commit_lease.held(own, Table.SAMPLES, Table.WATCHES):
        purging.start()
        assert not alone.wait(1)
    assert alone.wait(20)
    purging.join(20)


def test_elsewhere_a_commit_waits_for_a_purge_of_its_table_only(settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path))})
    committed = threading.Event()

    def commit() -> None:
        with commit_lease.held(own, Table.DECISIONS):
            committed.set()

    committing = threading.Thread(target=commit)
    with commit_lease.held_alone(own, Table.DECISIONS), commit_lease.held_alone(own, Table.SAMPLES):
        committing.start()
        with commit_lease.held(own, Table.WATCHES):
            assert not committed.wait(1)
    assert committed.wait(20)
    committing.join(20)
