"""Ingestion on a full disk, on a lake that is not writable, and with Ctrl-C."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables
from lake.errors import StorageError
from lake.table import Table
from streaming.errors import IngestFailed
from streaming.ingestion import Ingestion, IngestReport
from tests.support.commands import hub_command
from tests.support.disks import small_disk
from tests.support.uploads import send, upload
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.services, pytest.mark.faults]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with small_disk(tmp_path / "disk", "8m"):
        yield tmp_path / "disk"


def test_a_full_disk_stops_ingestion_and_loses_nothing(
    spark: SparkSession, settings: Settings, kafka: Kafka, disk: Path, tmp_path: Path
) -> None:
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    lake = Lake(root=str(disk / "lake"))
    own = settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})
    send(kafka, [upload(number) for number in range(20)])
    Ingestion(spark, own, kafka.bootstrap).once(IngestReport())
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
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


def test_ctrl_c_ends_a_continuous_ingestion_without_a_traceback(
    spark: SparkSession, kafka: Kafka, tmp_path: Path
) -> None:
    lake = Lake(root=str(tmp_path / "lake"))
    environment = os.environ | {
        "HUB__LAKE__ROOT": lake.root,
        "HUB__INGEST__INDEX_DIR": str(tmp_path / "index"),
        "HUB__KAFKA__BOOTSTRAP": kafka.bootstrap,
        "HUB__KAFKA__TOPIC": kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": kafka.rejected_topic,
        "HUB__KAFKA__VERDICTS_TOPIC": kafka.verdicts_topic,
    }
    send(kafka, [upload(number) for number in range(10)])
    driver = subprocess.Popen(
        hub_command("ingest"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert wait_until((Path(lake.at(Table.UPLOADS, "_delta_log")) / f"{1:020}.json").exists, 120)
        driver.send_signal(signal.SIGINT)
        output, errors = driver.communicate(timeout=60)
    finally:
        driver.kill()
    # A slow machine also prints the progress line of every 30 s.
    errors_left = [line for line in errors.splitlines() if not line.startswith("10 records, ")]
    assert (driver.returncode, errors_left) == (0, [])
    assert "Stopped; the next ingest resumes where this one stopped.\n10 records in 1 batches" in output
    assert tables.read(spark, lake, Table.UPLOADS).count() == 10


def test_a_lake_that_is_not_writable_is_named(spark: SparkSession, settings: Settings) -> None:
    # Not even root can create folders in /proc.
    with pytest.raises(StorageError, match=r"/proc/lake.*HUB__LAKE__ROOT"):
        tables.create(spark, Lake(root="/proc/lake"))
