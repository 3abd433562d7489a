"""The label check on real tables: flips are found, decisions stay, new uploads are scored."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from delta import DeltaTable
from pyspark.sql import SparkSession
from sklearn.metrics import roc_auc_score

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer, tables
from lake.erasure.curation import PROBES
from lake.schemas import LABEL_CONFLICT
from lake.storage import Storage
from lake.table import Table
from organize.errors import ErasedMeanwhile, NothingToCheck
from organize.labels import check
from organize.labels.scorer import Scorer
from organize.labels.stage import check_is_due, score_images
from organize.review import decision_log, doubtful
from organize.review.decisions import Kind, Wish
from organize.review.ranking import most_doubtful
from tests.organize.embedded_lake import MODEL, blobs, chunk_of, fill

pytestmark = pytest.mark.services

_NAMES = ("cat", "dog", "owl")
_COLUMNS = ("image_id", "label", "label_quality", "suggested_label", "label_reason", "label_source", "flags")


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})


def samples(own: Settings) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in row_writer.read(own, Table.SAMPLES, _COLUMNS)}


def test_labels_are_checked_reviewed_decided_and_followed(spark: SparkSession, own: Settings) -> None:
    tables.create(spark, own.lake)
    with pytest.raises(NothingToCheck, match=r"no samples in .*hub push"):
        check.check_labels(spark, own, MODEL)
    row_writer.append(own, Table.SAMPLES, {"image_id": "no embedding", "label": "cat", "flags": []})
    with pytest.raises(NothingToCheck, match=r"no sample has an embedding of .*hub organize --once"):
        check.check_labels(spark, own, MODEL)
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 300)
    flipped = random.random(300) < 0.1
    labels = [_NAMES[each] for each in np.where(flipped, (truth + 1) % 3, truth)]
    ids = fill(spark, own, labels[:8], blobs(truth[:8].tolist()), first=500)
    with pytest.raises(NothingToCheck, match=r"0 label.s. have 10 images"):
        check.check_labels(spark, own, MODEL)

    ids = fill(spark, own, [*labels, "unknown", "yak"], blobs([*truth.tolist(), 1, 2]))
    row_writer.update(own, Table.SAMPLES, "image_id", {"image_id": ids[0], "flags": [LABEL_CONFLICT]})
    done = check.check_labels(spark, own, MODEL)
    found = samples(own)
    quality = np.array([found[each]["label_quality"] for each in ids[1:300]])
    assert roc_auc_score(flipped[1:], -quality) > 0.97
    assert done.not_checked == {"no embedding yet": 1, "too few images of the label": 1}
    assert done.checked == len(ids) + 8 - 1
    assert found[ids[300]]["suggested_label"] == "dog" and found[ids[301]]["label_quality"] is None
    assert found[ids[0]]["label_quality"] is not None

    # Killed before the scorer was saved: the same tables when it runs again.
    version = tables.version(spark, own.lake, Table.SAMPLES)
    check.check_labels(spark, own, MODEL)
    assert samples(own) == found and tables.version(spark, own.lake, Table.SAMPLES) == version

    # Of more samples than are judged, the probe scores the others.
    few = own.model_copy(update={"checks": own.checks.model_copy(update={"judged_images": 200})})
    part = check.check_labels(spark, few, MODEL)
    rescored = np.array([samples(own)[each]["label_quality"] for each in ids[1:300]])
    assert part.checked < 210 and roc_auc_score(flipped[1:], -rescored) > 0.97
    check.check_labels(spark, own, MODEL)
    assert samples(own) == found

    listed = most_doubtful(doubtful.load(own), 10)
    assert ids[300] in {each.image_id for each in listed}
    wrong = [each for each in listed if each.image_id in ids[:300]]
    assert np.mean([flipped[ids.index(each.image_id)] for each in wrong]) > 0.8
    first = wrong[0]
    decision_log.decide(own, [Wish(first.image_id, Kind.RELABEL, first.suggested_label)], "ann")
    check.check_labels(spark, own, MODEL)
    decided = samples(own)[first.image_id]
    assert (decided["label_quality"], decided["label_source"]) == (1.0, "corrected")
    assert first.image_id not in {each.image_id for each in doubtful.load(own)}

    # New uploads are scored by the saved probe, which learnt the decision.
    scorer = Scorer.load(own, MODEL)
    assert scorer is not None and scorer.labels == _NAMES
    new = fill(spark, own, ["cat", "cat", "zebra"], blobs([0, 2, 1], seed=9), first=1000)
    chunk = chunk_of(spark, own, new)
    assert score_images(chunk) == 2 and chunk.samples.write() == 2
    scored = samples(own)
    assert [scored[each]["suggested_label"] for each in new] == [None, "owl", None]
    assert scored[new[0]]["label_quality"] > 0.5 > scored[new[1]]["label_quality"]


def test_images_that_come_or_are_erased_while_labels_are_judged(spark: SparkSession, own: Settings) -> None:
    truth = [0, 1] * 40
    ids = fill(spark, own, [_NAMES[each] for each in truth], blobs(truth))
    assert check_is_due(own, MODEL)
    new: list[str] = []

    @contextmanager
    def turn() -> Iterator[None]:
        new.extend(fill(spark, own, ["cat", "cat"], blobs([0, 1], seed=9), first=1000))
        yield

    assert check.check_labels(spark, own, MODEL, turn).checked == 80
    found = samples(own)
    assert found[new[0]]["label_quality"] > 0.5 > found[new[1]]["label_quality"]
    assert not check_is_due(own, MODEL)

    @contextmanager
    def erasing() -> Iterator[None]:
        DeltaTable.forPath(spark, own.lake.at(Table.SAMPLES)).delete(f"image_id = '{ids[2]}'")
        Storage(own.lake.at(PROBES), own.s3).delete_all()  # as an erasure does
        yield

    with pytest.raises(ErasedMeanwhile, match=r"^1 images were erased while .* run it again$"):
        check.check_labels(spark, own, MODEL, erasing)
    assert Scorer.load(own, MODEL) is None and check_is_due(own, MODEL)
