"""Triplet loss with semi-hard negatives, and the retrieval accuracy of a batch.

Source: Schroff et al. 2015, "FaceNet: A Unified Embedding for Face Recognition and Clustering", section 3.
"""

from typing import Any

import tensorflow as tf


def squared_distances(vectors: Any) -> Any:
    """Squared Euclidean distances between vectors of length 1, (batch, batch)."""
    return tf.maximum(2 - 2 * tf.matmul(vectors, vectors, transpose_b=True), 0)


def losses(vectors: Any, labels: Any, margin: float) -> Any:
    """The loss of each picture as an anchor: the mean over its positives.

    For each anchor and positive, the negative is the nearest one that is farther away than the positive
    (semi-hard, section 3.2). If all negatives are nearer, it is the farthest of them. Each worker uses only
    the pictures of its own batch.

    Args:
        vectors: float (batch, size), each of length 1.
        labels: int32 (batch,).
        margin: alpha in the paper, a squared distance.

    Returns:
        float (batch,); 0 where a picture has no positive or no negative.
    """
    distances = squared_distances(vectors)
    same = labels[:, None] == labels[None, :]
    positive = same & ~tf.eye(tf.shape(labels)[0], dtype=tf.bool)
    infinite = tf.fill(tf.shape(distances), distances.dtype.max)
    # (anchor, positive, negative): True where the negative is farther away than the positive
    semi_hard = ~same[:, None, :] & (distances[:, None, :] > distances[:, :, None])
    nearest = tf.reduce_min(tf.where(semi_hard, distances[:, None, :], infinite[:, None, :]), axis=2)
    farthest = tf.reduce_max(tf.where(same, tf.zeros_like(distances), distances), axis=1, keepdims=True)
    negative = tf.where(tf.reduce_any(semi_hard, axis=2), nearest, farthest)
    valid = positive & tf.reduce_any(~same, axis=1, keepdims=True)
    pair_losses = tf.where(valid, tf.nn.relu(distances - negative + margin), tf.zeros_like(distances))
    pairs_per_anchor = tf.reduce_sum(tf.cast(valid, distances.dtype), axis=1)
    return tf.reduce_sum(pair_losses, axis=1) / tf.maximum(pairs_per_anchor, 1)


def count_correct(vectors: Any, labels: Any) -> Any:
    """How many pictures have a nearest neighbour of the same label in the batch, float ()."""
    distances = squared_distances(vectors)
    distances = tf.linalg.set_diag(distances, tf.fill(tf.shape(labels), distances.dtype.max))
    neighbour_labels = tf.gather(labels, tf.argmin(distances, axis=1))
    return tf.reduce_sum(tf.cast(neighbour_labels == labels, distances.dtype))
