"""Triplet loss with semi-hard negatives, and what it needs of a batch.

Source: Schroff et al. 2015, "FaceNet: A Unified Embedding for Face Recognition and Clustering", section 3.
"""

from typing import Any

import tensorflow as tf


def distances(vectors: Any) -> Any:
    """Squared distances between vectors of length 1, (batch, batch)."""
    return tf.maximum(2 - 2 * tf.matmul(vectors, vectors, transpose_b=True), 0)


def losses(vectors: Any, labels: Any, margin: float) -> Any:
    """The loss of every picture as an anchor: mean over its positives.

    The negative of a pair is the nearest of those that are farther away than the positive (semi-hard, section
    3.2); where all negatives are nearer, the farthest of them. The batch is the worker's own: no worker sees
    another's embeddings.

    Args:
        vectors: float (batch, size), each of length 1.
        labels: int32 (batch,).
        margin: alpha, in squared distance.

    Returns:
        float (batch,); 0 where a picture has no positive or no negative.
    """
    apart = distances(vectors)
    same = labels[:, None] == labels[None, :]
    positive = same & ~tf.eye(tf.shape(labels)[0], dtype=tf.bool)
    far = tf.fill(tf.shape(apart), apart.dtype.max)
    # (anchor, positive, negative): which negatives are farther away than the positive
    harder = ~same[:, None, :] & (apart[:, None, :] > apart[:, :, None])
    nearest = tf.reduce_min(tf.where(harder, apart[:, None, :], far[:, None, :]), axis=2)
    farthest = tf.reduce_max(tf.where(same, tf.zeros_like(apart), apart), axis=1, keepdims=True)
    negative = tf.where(tf.reduce_any(harder, axis=2), nearest, farthest)
    counted = positive & tf.reduce_any(~same, axis=1, keepdims=True)
    pairs = tf.where(counted, tf.nn.relu(apart - negative + margin), tf.zeros_like(apart))
    number = tf.reduce_sum(tf.cast(counted, apart.dtype), axis=1)
    return tf.reduce_sum(pairs, axis=1) / tf.maximum(number, 1)


def right(vectors: Any, labels: Any) -> Any:
    """How many pictures have one of their own label nearest in the batch, float ()."""
    apart = distances(vectors)
    apart = tf.linalg.set_diag(apart, tf.fill(tf.shape(labels), apart.dtype.max))
    found = tf.gather(labels, tf.argmin(apart, axis=1))
    return tf.reduce_sum(tf.cast(found == labels, apart.dtype))
