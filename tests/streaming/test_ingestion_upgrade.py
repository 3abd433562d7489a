"""A lake of an older hub gets the columns of this one, and the ingestion goes on where it stopped."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import types as t

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables
from lake.schemas import SCHEMAS, UPLOADS
from lake.table import Table
from streaming.ingestion import Ingestion, IngestReport
from tests.support.uploads import send, upload

pytestmark = [pytest.mark.services, pytest.mark.faults]


def test_followers_go_on_after_the_ledger_has_got_a_column(
    spark: SparkSession, settings: Settings, kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    lake = Lake(root=str(tmp_path / "lake"))
    own = settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})

    def ingested() -> tuple[int, int, dict[str, tuple[str, int]]]:
        report = IngestReport()
        Ingestion(spark, own, kafka.bootstrap).once(report)
        labels = tables.read(spark, lake, Table.LABELS).collect()
        samples = tables.read(spark, lake, Table.SAMPLES).count()
        return report.accepted, samples, {row.label: (row.display_name, row.accepted) for row in labels}

    send(kafka, [upload(number, label="Crème brûlée") for number in range(3)])
    assert ingested() == (3, 3, {"creme_brulee": ("Crème brûlée", 3)})
    newer = t.StructType([*UPLOADS.fields, t.StructField("of_a_newer_hub", t.StringType())])
    monkeypatch.setitem(SCHEMAS, Table.UPLOADS, newer)
    send(kafka, [upload(number, label="creme brulee") for number in range(3, 5)])
    assert ingested() == (2, 5, {"creme_brulee": ("Crème brûlée", 5)})
    uploads = tables.read(spark, lake, Table.UPLOADS)
    assert uploads.columns == newer.names
    assert uploads.count() == 5
    send(kafka, [upload(5, label="x")])
    assert ingested()[:2] == (1, 6)
