"""Exactly-once checks: the tables and the dead letters compared with the uploads that were sent."""

import hashlib
from collections import Counter
from collections.abc import Iterable

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.table import Table
from streaming.contract.record import Upload
from tests.support.uploads import received


def assert_all_accounted_for(spark: SparkSession, own: Settings, sent: Iterable[Upload]) -> None:
    """Assert: each offset is in the ledger exactly once, and each rejected upload is a dead letter.

    Each accepted image is in samples once, and each accepted upload is counted in labels once.
    """
    uploads = tables.read(spark, own.lake, Table.UPLOADS).drop("jpeg", "thumbnail", "headers").collect()
    originals = received(own.kafka, own.kafka.topic)
    positions = Counter((row.partition, row.offset) for row in uploads)
    assert positions == Counter((record.partition, record.offset) for record in originals)
    assert all((row.verdict == "accepted") == (row.reason is None) for row in uploads)
    assert {row.verdict for row in uploads} <= {"accepted", "rejected"}

    by_id = {upload.id: upload for upload in sent}
    accepted = [row for row in uploads if row.verdict == "accepted"]
    assert len({row.upload_id for row in accepted}) == len(accepted)
    for row in accepted:
        assert row.image_id == hashlib.sha256(by_id[row.upload_id].content or b"").hexdigest()

    letters = received(own.kafka, own.kafka.rejected_topic)
    by_position = {
        (int(dict(letter.headers)["hub_partition"]), int(dict(letter.headers)["hub_offset"])): letter
        for letter in letters
    }
    rejected = {(row.partition, row.offset) for row in uploads if row.verdict == "rejected"}
    assert set(by_position) == rejected
    values = {(record.partition, record.offset): record.value for record in originals}
    assert all(letter.value == values[position] for position, letter in by_position.items())

    samples = tables.read(spark, own.lake, Table.SAMPLES).select("image_id").collect()
    assert Counter(row.image_id for row in samples) == Counter({row.image_id for row in accepted})
    counted = tables.read(spark, own.lake, Table.LABELS).agg(f.sum("accepted")).head()
    assert counted is not None
    assert (counted[0] or 0) == len(accepted)
