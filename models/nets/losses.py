"""Classification's loss: cross-entropy, smoothed and mixed by setting."""

from typing import Any

import tensorflow as tf


def mixed(images: Any, share: Any) -> Any:
    """Each picture blended with its partner, the one at the same distance from the batch's other end.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", section 2.

    Args:
        images: (batch, side, side, 3).
        share: float (), a picture's weight; its partner has the rest.

    Returns:
        float32 (batch, side, side, 3).
    """
    images = tf.cast(images, tf.float32)
    return share * images + (1 - share) * tf.reverse(images, [0])


def targets(labels: Any, classes: int, smoothing: float, share: Any | None, dtype: Any) -> Any:
    """What a batch should be answered with.

    Smoothed as in Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7: the label gets
    1 - smoothing + smoothing / classes, every other one smoothing / classes.

    Args:
        labels: int32 (batch,).
        classes: number of labels.
        smoothing: 0 to 1.
        share: mixup's weight as for `mixed`, None without mixup.
        dtype: of the result.

    Returns:
        (batch, classes), each row summing to 1.
    """
    wanted = tf.one_hot(labels, classes, dtype=dtype)
    if share is not None:
        share = tf.cast(share, dtype)
        wanted = share * wanted + (1 - share) * tf.reverse(wanted, [0])
    return wanted * (1 - smoothing) + smoothing / classes


def cross_entropy(logits: Any, labels: Any, smoothing: float = 0.0, share: Any | None = None) -> Any:
    """The loss of every picture, (batch,), in nats."""
    if not smoothing and share is None:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    wanted = targets(labels, logits.shape[-1], smoothing, share, logits.dtype)
    return tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
