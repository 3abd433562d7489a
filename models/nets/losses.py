"""Cross-entropy loss for classification, with optional label smoothing and mixup."""

from typing import Any

import tensorflow as tf


def mixup(images: Any, weight: Any) -> Any:
    """Blend each picture with its partner in the reversed batch (mixup): first with last, and so on.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", section 2.

    Args:
        images: (batch, side, side, 3).
        weight: float (), weight of the picture; its partner gets 1 - weight.

    Returns:
        float32 (batch, side, side, 3).
    """
    images = tf.cast(images, tf.float32)
    return weight * images + (1 - weight) * tf.reverse(images, [0])


def targets(labels: Any, classes: int, smoothing: float, weight: Any | None, dtype: Any) -> Any:
    """The target probabilities of a batch.

    Label smoothing follows Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7: the true
    label gets 1 - smoothing + smoothing / classes, every other label smoothing / classes.

    Args:
        labels: int32 (batch,).
        classes: number of labels.
        smoothing: 0 to 1; 0 for none.
        weight: as for `mixup`; None without mixup.
        dtype: of the result.

    Returns:
        (batch, classes), each row summing to 1.
    """
    probabilities = tf.one_hot(labels, classes, dtype=dtype)
    if weight is not None:
        weight = tf.cast(weight, dtype)
        probabilities = weight * probabilities + (1 - weight) * tf.reverse(probabilities, [0])
    return probabilities * (1 - smoothing) + smoothing / classes


def cross_entropy(logits: Any, labels: Any, smoothing: float = 0.0, weight: Any | None = None) -> Any:
    """The cross-entropy of each picture, (batch,), in nats."""
    if not smoothing and weight is None:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    probabilities = targets(labels, logits.shape[-1], smoothing, weight, logits.dtype)
    return tf.nn.softmax_cross_entropy_with_logits(probabilities, logits)


def picture_weights(labels: Any, class_weights: Any, weight: Any | None = None) -> Any:
    """The weight of each picture's loss: that of its label, or of its labels as mixup blends them.

    Args:
        labels: int32 (batch,).
        class_weights: float (classes,).
        weight: as for `mixup`; None without mixup.

    Returns:
        float (batch,).
    """
    own = tf.gather(class_weights, labels)
    if weight is None:
        return own
    weight = tf.cast(weight, own.dtype)
    return weight * own + (1 - weight) * tf.reverse(own, [0])


def count_correct(logits: Any, labels: Any) -> Any:
    """How many pictures have the highest logit at their label, float ()."""
    correct = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
    return tf.reduce_sum(tf.cast(correct, logits.dtype))
