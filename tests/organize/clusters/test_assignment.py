"""Pictures get the nearest cluster of their label and of all labels; centroids do not depend on order."""

import numpy as np
import pyarrow as pa

from conf import settings as configuration
from organize.clusters.assignment import assign_batch
from organize.clusters.centroids import Centroids
from organize.clusters.fitting import fit_vectors
from organize.features.vectors import to_column
from tests.organize.embedded_lake import blobs, image_id


def test_each_picture_gets_the_nearest_cluster_of_its_label_and_of_all() -> None:
    axes = np.eye(4, dtype=np.float32)
    centroids = {
        "cat": Centroids(("cat-1", "cat-2"), axes[:2], (0.3, 0.3)),
        None: Centroids(("all-1", "all-2"), axes[2:], (0.9, 2.0)),
    }
    vectors = np.array([[1, 0, 0.1, 0], [0.6, 0.8, 0, 0.1], [0, 0.3, 0, 1], [0, 1, 0, 0]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = ["cat", "cat", "cat", "dog"]
    columns = [pa.array(list("abcd")), pa.array(labels), to_column(vectors)]
    batch = pa.RecordBatch.from_arrays(columns, names=["image_id", "label", "vector"])
    rows = assign_batch(batch, centroids).to_pylist()
    assert [row["cluster"] for row in rows] == ["cat-1", "cat-2", "cat-2", None]
    assert [row["outlier"] for row in rows] == [False, False, True, None]
    assert [row["overall_cluster"] for row in rows] == ["all-1", "all-2", "all-2", "all-1"]
    assert [row["overall_outlier"] for row in rows] == [True, False, False, True]
    assert rows[3]["cluster_distance"] is None
    alone = [assign_batch(batch.slice(row, 1), centroids).to_pylist()[0] for row in range(4)]
    assert alone == rows, "distances do not depend on the size of the batch"


def test_centroids_do_not_depend_on_the_order_of_the_pictures() -> None:
    truth = [0] * 40 + [1] * 40 + [2] * 40
    table = pa.table({"image_id": [image_id(each) for each in range(120)], "vector": to_column(blobs(truth))})
    config = configuration.load().clusters
    shuffled = table.take(pa.array(np.random.default_rng(2).permutation(120)))
    one, other = fit_vectors(table, config, 7), fit_vectors(shuffled, config, 7)
    assert len(one) == 3 and (one == other).all()
