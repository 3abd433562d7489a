"""Writes a dataset snapshot: its id from its content, shards in Spark tasks, the manifest last."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from conf.choices import SplitBy
from conf.organize_section import Organize
from conf.settings import Settings
from lake.errors import LakeError, StorageError
from lake.job_failures import root_cause
from lake.label_hierarchy import Hierarchy
from lake.snapshot import MANIFEST, DatasetSnapshot, Split
from lake.storage import Storage
from organize.datasets import shards
from organize.datasets.selection import Selection
from organize.splits.new_splits import generation


def assign_shards(chosen: DataFrame, labels: list[str], config: Organize) -> DataFrame:
    """Give each chosen sample its label index, shard and position."""
    index = f.array_position(f.array(*[f.lit(label) for label in labels]), f.col("label")) - 1
    keys = chosen.select("image_id", "upload_id", "split", index.cast("int").alias("label"))
    return shards.assign_shards(keys, config.seed, config.shard_rows)


def plan_snapshot(
    settings: Settings, labels: list[str], selection: Selection, weights: Mapping[str, float]
) -> DatasetSnapshot:
    """The snapshot without its shards, from which the dataset id is computed.

    Its filter has only what differs from the defaults of older hubs, so that the ids of their datasets stay.
    """
    config = settings.organize
    chosen: dict[str, object] = {
        "labels": labels,
        "phash_distance": config.phash_distance,
        "fractions": list(config.fractions),
    }
    if config.split_by is not SplitBy.GROUP:
        chosen["split_by"] = config.split_by.value
    if config.keep_together:
        chosen["keep_together"] = [each.value for each in config.keep_together]
    if splits := generation(settings):
        chosen["split_generation"] = splits
    if weights:
        chosen["weights"] = [weights[label] for label in labels]
    return DatasetSnapshot(
        storage=Storage(settings.lake.at("snapshots"), settings.s3),
        labels=tuple(labels),
        shards={},
        flip=Hierarchy.read(settings.labels.file).may_flip(labels, config.no_flip_parents),
        seed=config.seed,
        filter=chosen | selection.filter(),
    )


def dataset_id(planned: DatasetSnapshot, assignment: DataFrame, config: Organize) -> str:
    """Hash of the content: the chosen samples, their shards and positions, and the sizes of shards."""
    sizes = [config.shard_rows, config.row_group_rows]
    content = planned.manifest() | {"places": shards.digest(assignment), "rows": sizes}
    return "ds-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def write_snapshot(
    planned: DatasetSnapshot,
    assignment: DataFrame,
    uploads: DataFrame,
    expected: Mapping[Split, int],
    row_group_rows: int,
    refuse_if_lost: Callable[[], None],
) -> DatasetSnapshot:
    """Write the shards and then the manifest.

    A folder without a manifest is incomplete, and the next run overwrites it.

    Args:
        planned: rooted at the snapshot's folder.
        assignment: the result of `assign_shards`.
        uploads: the ledger, with the pictures.
        expected: split to number of images.
        refuse_if_lost: raises if the lock was lost.

    Raises:
        LakeError: `samples` and `uploads` do not match.
        StorageError: a picture cannot be read, or a shard cannot be written.
    """
    storage = planned.storage
    pictures = uploads.where("verdict = 'accepted'").select("image_id", "upload_id", "jpeg")
    try:
        written = shards.write(assignment, pictures, storage, row_group_rows)
    except (PySparkException, Py4JJavaError) as error:
        cause = root_cause(error)
        # A file that is gone has different names in Spark, Hadoop and Delta.
        gone = any(words in str(error) for words in ("FILE_NOT_EXIST", "FileNotFound", "does not exist"))
        advice = "; VACUUM removed files of the version of uploads that is read: run it again" if gone else ""
        raise StorageError(f"cannot write shards to {storage.root}: {cause}{advice}") from None
    snapshot = replace(planned, shards=written)
    if any(snapshot.row_count(split) != expected[split] for split in Split):
        raise LakeError(
            f"samples and uploads do not match: {sum(expected.values())} images chosen, "
            f"{sum(map(snapshot.row_count, Split))} found in uploads; run `hub ingest --once`"
        )
    refuse_if_lost()
    storage.write_json(MANIFEST, snapshot.manifest())
    return DatasetSnapshot.load(storage)
