"""Class weights in the loss: on paper, and in a training step."""

import numpy as np
import pytest

from conf.settings import Settings
from models.pictures.inputs import BatchSchedule
from models.plan import TrainingPlan
from tests.support import tiny


def test_the_weight_of_a_picture_is_that_of_its_labels_on_paper() -> None:
    from models.nets.losses import picture_weights

    labels, weights = np.array([0, 1, 1], np.int32), np.array([2.0, 0.5], np.float32)
    assert np.asarray(picture_weights(labels, weights)).tolist() == [2.0, 0.5, 0.5]
    # Partners are first and last: 0.75·2 + 0.25·0.5, 0.5, 0.75·0.5 + 0.25·2
    mixed = picture_weights(labels, weights, np.float32(0.75))
    assert np.asarray(mixed).tolist() == [1.625, 0.5, 0.875]


def test_a_step_weighs_the_pictures_of_each_label(settings: Settings) -> None:
    import tensorflow as tf

    from models.workers.learner import Learner

    plan = TrainingPlan.of(settings, "any", 1, epochs=1, warmup_epochs=0.0, batch_size=8)
    random = np.random.default_rng(0)
    images = tf.constant(np.stack([tiny.picture(number % 4, random, 32) for number in range(8)]))
    labels = tf.constant(np.arange(8, dtype=np.int32) % 4)

    def first_loss(weights: tuple[float, ...]) -> float:
        return float(Learner(plan, BatchSchedule(8, 50), 4, None, weights).step(images, labels)[0])

    plain, first = first_loss(()), first_loss((1.0, 1e-9, 1e-9, 1e-9))
    assert 0 < first < plain
    assert first_loss((3.0, 1.0, 1.0, 1.0)) == pytest.approx(plain + 2 * first, rel=1e-3)
