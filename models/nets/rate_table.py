"""The learning rate of each step, looked up in a table."""

from typing import Any

import keras
import tensorflow as tf


class RateTable(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of Keras from a list of rates; after the last step its rate stays."""

    def __init__(self, rates: list[float]) -> None:
        self._rates = tf.constant(rates, keras.config.floatx())

    def __call__(self, step: Any) -> Any:
        """The rate of a step, float ()."""
        return tf.gather(self._rates, tf.minimum(step, len(self._rates) - 1))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, as Keras asks for them."""
        return {"rates": self._rates.numpy().tolist()}
