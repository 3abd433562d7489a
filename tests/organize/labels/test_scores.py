"""Scores of new pictures: by the saved probe, and by a model whose file fits its card."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.erasure.curation import PROBES
from lake.errors import StorageError
from lake.storage import Storage
from models.errors import UnusableModel
from models.registry.model_cards import ModelCard
from organize.features.vectors import to_column
from organize.labels.model_scores import LabelNetwork
from organize.labels.scorer import Scorer
from organize.labels.scoring import score_batch
from tests.organize.embedded_lake import blobs


@pytest.fixture
def scorer() -> Scorer:
    truth = np.repeat([0, 1, 2], 40)
    sure = np.eye(3, dtype=np.float32)[truth] * 0.9 + 0.033
    return Scorer.fit(blobs(truth.tolist()), truth, ("cat", "dog", "owl"), sure, 0.01, 120)


def test_a_saved_scorer_gives_the_same_scores(settings: Settings, tmp_path: Path, scorer: Scorer) -> None:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    assert Scorer.load(own, "m") is None
    scorer.save(own, "m")
    loaded = Scorer.load(own, "m")
    assert loaded is not None and (loaded.labels, loaded.images) == (scorer.labels, 120)
    vectors = blobs([0, 1, 2], seed=3)
    assert (loaded.probabilities(vectors) == scorer.probabilities(vectors)).all()
    Storage(own.lake.at(PROBES, "m"), own.s3).write("scorer.npz", b"rubbish")
    with pytest.raises(StorageError, match=r"scorer\.npz cannot be read .*hub labels check"):
        Scorer.load(own, "m")


def test_a_batch_is_scored_whatever_its_labels_are(scorer: Scorer) -> None:
    labels = ["cat", "dog", "yak", "unknown"]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(list("abcd")), pa.array(labels), to_column(blobs([0, 2, 1, 1], seed=3))],
        names=["image_id", "label", "vector"],
    )
    found = {row["image_id"]: row for row in score_batch(batch, scorer, frozenset({"unknown"})).to_pylist()}
    assert found["a"]["suggested_label"] is None and found["a"]["label_quality"] > 0.5
    assert found["b"]["suggested_label"] == "owl" and found["b"]["label_quality"] < 0.5
    assert "c" not in found
    assert found["d"]["suggested_label"] == "dog" and found["d"]["label_quality"] == 0
    nothing = score_batch(batch.filter(pa.array([False, False, True, False])), scorer, frozenset())
    assert nothing.num_rows == 0 and nothing.schema.names[0] == "image_id"


def test_a_file_that_is_no_network_is_named_with_its_model() -> None:
    card = ModelCard("m-1", "ds-1", "resnet20", 32, ("cat", "dog"))
    with pytest.raises(UnusableModel, match=r"model\.tflite of model m-1 cannot be used"):
        LabelNetwork(b"rubbish", card)
