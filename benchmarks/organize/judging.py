"""Clusters and label checks of embeddings, beside plain scikit-learn on the same vectors.

    python -m benchmarks.organize.judging [--images 50000]

Vectors are synthetic (benchmarks/organize/synthetic.py): 20 labels, each picture somewhere around its own,
and a tenth of the labels changed to another one. Clusters: the hub's, of a sample and with the number by
silhouette, beside `KMeans` on all vectors with the true number; both by agreement with the labels (adjusted
Rand index). Label checks: the hub's first tier, with its choice of the penalty, beside `LogisticRegression`
in the same number of folds; both by the area under the curve of the changed labels. One JSON object.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.organize.synthetic import LATENT, SIZE, Pictures
from conf import settings as configuration
from organize.clusters import kmeans
from organize.features.vectors import Vectors
from organize.labels import judgement

_LABELS, _FOLDS, _CHANGED = 20, 5, 0.1
_SPREAD = 2.0  # standard deviation of pictures around their label


@click.command()
@click.option("--images", type=int, default=50_000, show_default=True)
def main(images: int) -> None:
    """Measure, and print the results."""
    random = np.random.default_rng(8)
    truth = random.integers(0, _LABELS, images)
    vectors = _vectors(truth, random)
    changed = random.random(images) < _CHANGED
    labels = np.where(changed, (truth + random.integers(1, _LABELS, images)) % _LABELS, truth)
    results = {
        "images": images,
        "clusters": {
            "hub": _clusters(truth, lambda: _hub_clusters(vectors)),
            "scikit-learn": _clusters(truth, lambda: _plain_clusters(vectors)),
        },
        "label check": {
            "hub": _check(changed, lambda: _hub_check(vectors, labels)),
            "scikit-learn": _check(changed, lambda: _plain_check(vectors, labels)),
        },
    }
    print(json.dumps(results, indent=2))


def _vectors(truth: NDArray[np.int64], random: np.random.Generator) -> Vectors:
    centres = random.normal(0, 1, (_LABELS, LATENT))
    latent = centres[truth] + random.normal(0, _SPREAD, (len(truth), LATENT))
    lift = random.normal(0, 1, (LATENT, SIZE)).astype(np.float32)
    return Pictures(latent.astype(np.float32), lift).vectors()


def _clusters(truth: NDArray[np.int64], cluster: Callable[[], NDArray[np.int64]]) -> dict[str, float]:
    from sklearn.metrics import adjusted_rand_score

    began = time.monotonic()
    rows = cluster()
    seconds = time.monotonic() - began
    agreement = float(adjusted_rand_score(truth, rows))
    return {"seconds": round(seconds, 1), "clusters": len(np.unique(rows)), "agreement": round(agreement, 3)}


def _hub_clusters(vectors: Vectors) -> NDArray[np.int64]:
    config = configuration.load().clusters
    with threadpool_limits(1):  # as `organize.clusters.formation`
        sample = vectors[: config.sample_images]
        found = kmeans.cluster(sample, config.count, config.max_count, config.min_images, 7)
        return kmeans.nearest(vectors, found.centroids)[0]


def _plain_clusters(vectors: Vectors) -> Any:
    from sklearn.cluster import KMeans

    return KMeans(_LABELS, n_init=3, random_state=7).fit(vectors).labels_


def _check(changed: NDArray[np.bool_], check: Callable[[], Vectors]) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    began = time.monotonic()
    quality = check()
    seconds = time.monotonic() - began
    return {"seconds": round(seconds, 1), "auroc": round(float(roc_auc_score(changed, -quality)), 4)}


def _hub_check(vectors: Vectors, labels: NDArray[np.int64]) -> Vectors:
    groups = np.arange(len(labels)).astype(str)
    with threadpool_limits(1):  # as `organize.labels.check`
        return judgement.judge(vectors, labels, groups, _LABELS, _FOLDS, 7).quality


def _plain_check(vectors: Vectors, labels: NDArray[np.int64]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    model = LogisticRegression(max_iter=60)
    found = cross_val_predict(model, vectors, labels, cv=_FOLDS, method="predict_proba")
    return found[np.arange(len(labels)), labels]


if __name__ == "__main__":
    main()
