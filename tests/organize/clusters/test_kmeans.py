"""Clusters of vectors, their number, ids that stay, and outliers."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from organize.clusters import kmeans, matching
from organize.clusters.kmeans import Floats


def blobs(counts: tuple[int, ...], seed: int = 0, spread: float = 0.25) -> Floats:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(counts), 64))
    rows = [
        centre + spread * random.normal(size=(count, 64))
        for centre, count in zip(centres, counts, strict=True)
    ]
    vectors = np.concatenate(rows)
    unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.mark.parametrize("counts", [(80,), (80, 60), (40, 40, 40, 40)])
def test_the_number_of_clusters_is_found(counts: tuple[int, ...]) -> None:
    found = kmeans.cluster(blobs(counts), 0, 32, 20, seed=7)
    assert len(found.centroids) == len(counts)
    assert sorted(np.bincount(found.rows)) == sorted(counts)
    assert np.allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-5)


def _clouds(centres: Floats, rows: int, seed: int) -> Floats:
    """Rows around centres, in 40 directions that vary more or less, as 400 numbers of length 1."""
    random = np.random.default_rng(seed)
    spread = np.geomspace(3, 0.5, 40)
    latent = np.repeat(centres, rows, axis=0) + spread * random.normal(size=(len(centres) * rows, 40))
    vectors = latent @ np.random.default_rng(98).normal(size=(40, 400))
    unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_overlapping_clusters_of_many_numbers_are_found() -> None:
    """As embeddings of real pictures, whose silhouettes are hardly above zero."""
    centres = 3 * np.random.default_rng(97).normal(size=(8, 40)).astype(np.float32)
    found = kmeans.cluster(_clouds(centres, 150, seed=1), 0, 32, 20, seed=7)
    assert len(found.centroids) in (6, 8, 12)
    labels = np.repeat(np.arange(8), 150)
    assert adjusted_rand_score(labels, found.rows) > 0.6


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("rows", [60, 400])
def test_a_cloud_without_clusters_is_one(rows: int, seed: int) -> None:
    centre = np.ones((1, 40), np.float32)
    assert len(kmeans.cluster(_clouds(centre, rows, seed), 0, 32, 20, seed=7).centroids) == 1


def test_a_given_number_is_kept_unless_there_are_too_few_rows() -> None:
    vectors = blobs((80, 60))
    assert len(kmeans.cluster(vectors, 5, 32, 20, seed=7).centroids) == 5
    assert len(kmeans.cluster(vectors[:39], 5, 32, 20, seed=7).centroids) == 1
    assert len(kmeans.cluster(vectors[:3], 0, 32, 20, seed=7).centroids) == 1


def test_the_same_rows_give_the_same_clusters() -> None:
    one, other = (kmeans.cluster(blobs((80, 60, 50)), 0, 32, 20, seed=7) for _ in range(2))
    assert (one.centroids == other.centroids).all() and (one.rows == other.rows).all()


def test_equal_rows_are_one_cluster() -> None:
    assert len(kmeans.cluster(np.tile(blobs((1,)), (100, 1)), 0, 32, 20, seed=7).centroids) == 1


def test_strangers_are_farther_than_the_radius_and_do_not_move_it() -> None:
    vectors = blobs((200,))
    strangers = blobs((1, 1, 1, 1, 1, 1), seed=5)[1:]
    centroid = kmeans.cluster(np.concatenate([vectors, strangers]), 1, 1, 20, seed=7).centroids
    _, distances = kmeans.nearest(np.concatenate([vectors, strangers]), centroid)
    median = float(np.median(distances))
    limit = kmeans.outlier_radius(median, float(np.median(np.abs(distances - median))), 3.5)
    assert (distances[200:] > limit).all() and (distances[:200] > limit).mean() < 0.02


def test_clusters_keep_their_ids_while_pictures_arrive() -> None:
    first = kmeans.cluster(blobs((80, 60, 50)), 0, 32, 20, seed=7).centroids
    later = kmeans.cluster(blobs((160, 140, 90, 70), seed=1), 0, 32, 20, seed=8).centroids
    pairs = matching.match(first, later, np.full(len(later), 0.3, np.float32))
    assert sorted(pairs.values()) == [0, 1, 2] and len(pairs) == 3
    for new, old in pairs.items():
        assert later[new] @ first[old] > 0.9


def test_clusters_that_moved_away_are_new() -> None:
    centroids = blobs((1, 1), spread=0.0)
    assert matching.match(centroids[:1], centroids[1:], np.array([0.3], np.float32)) == {}
    assert matching.match(centroids[:0], centroids, np.array([0.3, 0.3], np.float32)) == {}


def test_minted_ids_depend_on_label_model_and_content() -> None:
    ids = {
        matching.mint_id(label, model, content)
        for label in ("cat", None)
        for model in ("m1", "m2")
        for content in (b"1", b"2")
    }
    assert len(ids) == 8
    assert {each.split("-")[0] for each in ids} == {"cat", "all"}
    assert matching.mint_id("cat", "m", b"1") == matching.mint_id("cat", "m", b"1")
