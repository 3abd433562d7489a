"""A model under TensorFlow's multi-worker strategy: its steps and its variables."""

from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.errors import UnfitStart
from models.nets import schedule, triplet
from models.nets.losses import cross_entropy, mixed
from models.nets.normalization import Sharing, own_moments
from models.nets.precision import ScaledSGD, gains_from_half
from models.nets.resnet import HEADS
from models.pictures.inputs import BatchSchedule
from models.plan import TrainingPlan
from models.workers.initial_weights import InitialWeights, built

# Nothing here is for AutoGraph to rewrite, which takes time and leaves files behind where a worker ends.
_traced = partial(tf.function, autograph=False)


class _Table(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate for every step, looked up."""

    def __init__(self, rates: list[float]) -> None:
        self._rates = tf.constant(rates, keras.config.floatx())

    def __call__(self, step: Any) -> Any:
        return tf.gather(self._rates, tf.minimum(step, len(self._rates) - 1))

    def get_config(self) -> dict[str, Any]:
        return {"rates": self._rates.numpy().tolist()}


class Learner:
    """One worker's part of the model that all workers train together.

    Gradients are sums over the worker's images divided by the global batch, and the optimizer adds them
    up over the workers, so N workers do what one would do with the combined batch.

    Args:
        plan: the run's settings.
        pace: steps of an epoch and batch size.
        classes: number of labels.
        start: what the variables start from; None draws them.

    Attributes:
        model: under the strategy, answering logits or embeddings.
        plain: outside it, with Keras' own layers, answering probabilities or embeddings: what is measured
            and written. Its values are those of the last `update_plain`.
    """

    def __init__(
        self, plan: TrainingPlan, pace: BatchSchedule, classes: int, start: InitialWeights | None = None
    ) -> None:
        self._global_batch = pace.batch * plan.workers
        self._mixup, self._smoothing = plan.mixup > 0 and plan.augment, plan.label_smoothing
        self._margin = plan.triplet_margin if plan.objective == "triplet" else None
        self._decay = plan.weight_decay / plan.workers
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.rates = schedule.rates(
            plan.epochs * pace.steps,
            round(plan.warmup_epochs * pace.steps),
            schedule.peak(plan.learning_rate, self._global_batch),
            plan.freeze_epochs * pace.steps,
        )
        plain = built(plan, classes)
        self.precision = self._agreed(plan.precision)
        scaled = self.precision == "mixed_float16"
        with self.strategy.scope():
            self.model = keras.models.clone_model(
                plain, clone_function=Sharing(plan.normalization == "synchronized", self.precision)
            )
            kind = ScaledSGD if scaled else keras.optimizers.SGD
            self._optimizer = kind(_Table(self.rates), momentum=plan.momentum)
            self._optimizer.build(self.model.trainable_variables)
        self.plain = plain if plan.objective == "triplet" else _answering(plain)
        self._frozen = False
        self._step = _traced(self._everywhere)
        if start:
            for variable, value in zip(self.model.variables, start.values, strict=True):
                variable.value.assign(value)

    def _agreed(self, precision: str) -> str:
        """The precision of all workers: half only if every one of them gains from it."""
        if precision != "auto":
            return precision
        gaining = self.summed(np.array([float(gains_from_half())]))[0]
        workers = self.strategy.num_replicas_in_sync
        return "mixed_float16" if round(gaining) == workers else "float32"

    @property
    def _scale(self) -> Any:
        """What the loss is multiplied by; 1 where nothing can underflow."""
        return self._optimizer.scale.value if isinstance(self._optimizer, ScaledSGD) else 1

    def freeze(self, frozen: bool) -> None:
        """Let only the head learn, or everything; every worker must do so before the same step.

        Frozen normalizations answer as in inference: their statistics are the start's and stay so.
        """
        if frozen == self._frozen:
            return
        self._frozen = frozen
        for layer in self.model.layers:
            layer.trainable = not frozen or layer.name in HEADS
        # Which variables learn is part of the traced graph. The optimizer knows all of them from the start.
        self._step = _traced(self._everywhere)

    def step(self, images: Any, labels: Any, share: Any = 1.0) -> Any:
        """Learn from one batch; `share` is the weight of a picture against its partner's in mixup.

        Returns:
            float (2,): the worker's sum of losses and number of correct answers.
        """
        return self._step(images, labels, tf.convert_to_tensor(share, tf.float32))

    def _everywhere(self, images: Any, labels: Any, share: Any) -> Any:
        return self._local(self.strategy.run(self._learn, (images, labels, share)))

    def _learn(self, images: Any, labels: Any, share: Any) -> Any:
        if self._mixup:
            images = mixed(images, share)
        weights = self.model.trainable_variables
        scale = self._scale
        with tf.GradientTape() as tape:
            answers = self.model(images, training=True)
            losses = self._losses(answers, labels, share)
            loss = tf.reduce_sum(losses) / self._global_batch * scale
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        decayed = [
            gradient + self._decay * scale * weight.value if weight.name == "kernel" else gradient
            for gradient, weight in zip(gradients, weights, strict=True)
        ]
        self._optimizer.apply_gradients(zip(decayed, weights, strict=True))
        right = _correct(answers, labels) if self._margin is None else triplet.right(answers, labels)
        return tf.stack([tf.reduce_sum(losses), right])

    def _losses(self, answers: Any, labels: Any, share: Any) -> Any:
        """Of every picture, (batch,)."""
        if self._margin is not None:
            return triplet.losses(answers, labels, self._margin)
        return cross_entropy(answers, labels, self._smoothing, share if self._mixup else None)

    def summed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over all workers; every worker must call it."""
        result: NDArray[np.float64] = self._sum(tf.constant(values)).numpy()
        return result

    @_traced
    def _sum(self, values: Any) -> Any:
        return self.strategy.reduce(
            tf.distribute.ReduceOp.SUM, self.strategy.run(tf.identity, (values,)), None
        )

    def _local(self, result: Any) -> Any:
        return self.strategy.experimental_local_results(result)[0]

    def sync_moments(self) -> None:
        """Give all workers the mean of their running moments where each keeps its own; all must call it."""
        own = own_moments(self.model)
        workers = self.strategy.num_replicas_in_sync
        if not own or workers == 1 or self._frozen:
            return
        values = [self._local(moment.value).numpy() for moment in own]
        means = self.summed(np.concatenate(values).astype(np.float64)) / workers
        ends = np.cumsum([len(value) for value in values])
        for moment, mean in zip(own, np.split(means, ends[:-1]), strict=True):
            moment.value.assign(mean.astype(moment.dtype))

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self._optimizer.variables]

    def values(self) -> tuple[NDArray[Any], ...]:
        """This worker's copies of all variables, the model's first; they are the same on every worker.

        Read locally: no other worker needs to take part.
        """
        return tuple(self._local(variable.value).numpy() for variable in self._variables())

    def names(self) -> tuple[str, ...]:
        """What the variables are called, in the order of `values`."""
        return tuple(variable.path for variable in self._variables())

    def assign(self, values: tuple[NDArray[Any], ...], names: tuple[str, ...] = ()) -> None:
        """Set all variables; every worker must call it with the same values.

        Args:
            values: in the order of `values`.
            names: what they were called when they were read; empty if that is not known.

        Raises:
            UnfitStart: they are of another architecture or of other settings.
        """
        shapes = [tuple(variable.shape) for variable in self._variables()]
        if shapes != [value.shape for value in values] or (names and names != self.names()):
            raise UnfitStart(
                f"the checkpoint's {len(values)} variables do not fit the {len(shapes)} of this "
                f"{self.model.name}: it is of another architecture or of other labels"
            )
        for variable, value in zip(self._variables(), values, strict=True):
            variable.value.assign(value)

    def update_plain(self) -> None:
        """Give `plain` the values that the variables have now."""
        values = self.values()[: len(self.plain.variables)]
        for variable, value in zip(self.plain.variables, values, strict=True):
            variable.assign(value)


def _answering(model: Any) -> Any:
    """The same layers and variables, answering probabilities in place of logits."""
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    return keras.Model(model.input, probabilities, name=model.name)


def _correct(logits: Any, labels: Any) -> Any:
    right = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
    return tf.reduce_sum(tf.cast(right, logits.dtype))
