"""Ingestion on a disk that fills, and on a lake that may not be written."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.settings import Kafka, Lake, Settings
from lake import tables
from lake.errors import StorageError
from lake.schemas import Table
from streaming.errors import IngestFailed
from streaming.query import Ingestion, IngestReport
from tests.uploads import send, upload

pytestmark = [pytest.mark.services, pytest.mark.faults]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_ingestion_and_loses_nothing(
    spark: SparkSession, settings: Settings, kafka: Kafka, small_disk: Path, tmp_path: Path
) -> None:
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    lake = Lake(root=str(small_disk / "lake"))
    own = settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})
    send(kafka, [upload(number) for number in range(20)])
    Ingestion(spark, own, kafka.bootstrap).once(IngestReport())
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    filler.write_bytes(bytes(free - 100_000))
    send(kafka, [upload(number) for number in range(20, 320)])

    with pytest.raises(IngestFailed, match="No space left on device"):
        Ingestion(spark, own, kafka.bootstrap).once(IngestReport())

    filler.unlink()
    Ingestion(spark, own, kafka.bootstrap).once(IngestReport())
    uploads = tables.read(spark, lake, Table.UPLOADS)
    assert uploads.count() == uploads.select("partition", "offset").distinct().count() == 320
    counted = tables.read(spark, lake, Table.LABELS).agg(f.sum("accepted")).head()
    assert counted is not None
    assert counted[0] == tables.read(spark, lake, Table.SAMPLES).count() == 320


def test_a_lake_that_may_not_be_written_is_named(spark: SparkSession, settings: Settings) -> None:
    # /proc takes no folders, not even from root.
    with pytest.raises(StorageError, match=r"/proc/lake.*HUB__LAKE__ROOT"):
        tables.create(spark, Lake(root="/proc/lake"))
