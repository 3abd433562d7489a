"""Exports to an object store: what a killed one leaves, and two to one place."""

import multiprocessing
import os
import signal
from collections.abc import Iterator

import pytest

from conf.settings import Settings
from lake.errors import InUse
from models.errors import ExportRefused
from models.inference import export_target
from models.inference.export_target import INCOMPLETE, LEASE, File
from tests.support.s3server import Bucket

pytestmark = pytest.mark.services

_FILES = [(f"train/{number}.jpg", bytes([number]) * 100) for number in range(5)] + [("dataset.json", b"{}")]


def test_the_next_export_to_a_place_deletes_what_a_killed_one_left(
    settings: Settings, bucket: Bucket
) -> None:
    own, target = settings.model_copy(update={"s3": bucket.s3}), f"s3://{bucket.name}/killed"
    export = multiprocessing.get_context("spawn").Process(target=_killed_after_three, args=(target, own))
    export.start()
    export.join(60)
    assert export.exitcode == -signal.SIGKILL
    assert _names(bucket, "killed") == {LEASE, INCOMPLETE, "stale/0", "stale/1", "stale/2"}
    written = export_target.write(target, _FILES, own, "test")
    assert (written.path, written.files, written.bytes) == (target, 6, 502)
    storage = export_target.storage_of(target, bucket.s3)
    assert {name: storage.read(name) for name in _names(bucket, "killed")} == dict(_FILES)
    with pytest.raises(ExportRefused, match="exists and is not empty"):
        export_target.write(target, _FILES, own, "test")


def test_one_export_at_a_time_writes_to_a_place(settings: Settings, bucket: Bucket) -> None:
    own, target = settings.model_copy(update={"s3": bucket.s3}), f"s3://{bucket.name}/both"

    def files() -> Iterator[File]:
        yield from _FILES[:3]
        with pytest.raises(InUse, match="is in use by `hub first`"):
            export_target.write(target, [("other", b"")], own, "second")
        yield from _FILES[3:]

    export_target.write(target, files(), own, "first")
    assert _names(bucket, "both") == {name for name, _ in _FILES}


def _names(bucket: Bucket, prefix: str) -> set[str]:
    """The objects below a prefix, relative to it; the server of the tests lists folders, too."""
    listed = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=f"{prefix}/").get("Contents", [])
    keys = (str(entry["Key"]) for entry in listed)
    return {key.removeprefix(f"{prefix}/") for key in keys if not key.endswith("/")}


def _killed_after_three(target: str, settings: Settings) -> None:
    def files() -> Iterator[File]:
        for number in range(3):
            yield f"stale/{number}", b""
        os.kill(os.getpid(), signal.SIGKILL)  # three are written when the fourth is asked for

    export_target.write(target, files(), settings, "test")
