"""Training steps and variables of a model, on one device or under a tf.distribute strategy."""

from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.errors import UnusableInitialWeights
from models.nets import schedule, triplet
from models.nets.heads import HEADS, with_softmax
from models.nets.losses import count_correct, cross_entropy, mixup, picture_weights
from models.nets.normalization import LayerCloner, local_moments
from models.nets.precision import ScaledSGD, has_tensor_cores
from models.nets.rate_table import RateTable
from models.pictures.inputs import BatchSchedule
from models.plan import TrainingPlan
from models.workers import replicas
from models.workers.initial_weights import InitialWeights, build_model

# AutoGraph has nothing to convert here; it takes time and leaves files behind when a worker is killed.
_tf_function = partial(tf.function, autograph=False)


class Learner:
    """Trains one worker's replica of the model.

    Each replica divides the sum of its gradients by the global batch size, and the optimizer sums them over
    the replicas of all workers. So N replicas do the same as one with the combined batch.

    Args:
        plan: the run's settings.
        batches: steps per epoch and batch size.
        classes: number of labels.
        start: initial weights; None initialises them at random.
        class_weights: of each label in the loss; empty for none. The triplet loss ignores them: its batches
            have all labels equally often.
        strategy: of `replicas.make_strategy`; None makes it.

    Attributes:
        model: replica under the strategy; outputs logits or embeddings.
        export_model: copy outside the strategy, made of Keras' own layers; outputs probabilities or
            embeddings. Evaluation and export use it. `update_export_model` copies the current weights to it.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        batches: BatchSchedule,
        classes: int,
        start: InitialWeights | None = None,
        class_weights: tuple[float, ...] = (),
        strategy: Any = None,
    ) -> None:
        self.strategy = strategy or replicas.make_strategy(plan.workers)
        self._class_weights = class_weights
        self._global_batch = batches.batch * plan.workers
        self._mixup, self._smoothing = plan.mixup > 0 and plan.augment, plan.label_smoothing
        self._margin = plan.triplet_margin if plan.objective == "triplet" else None
        self._decay = plan.weight_decay / self.strategy.num_replicas_in_sync
        self._workers, self._compiled = plan.workers, replicas.compiles(plan)
        self.rates = schedule.rates(
            plan.epochs * batches.steps,
            round(plan.warmup_epochs * batches.steps),
            schedule.peak(plan.learning_rate, self._global_batch),
            plan.freeze_epochs * batches.steps,
            plan.unfrozen_rate,
        )
        built = build_model(plan, classes)
        self.precision = self._agreed_precision(plan.precision)
        across = plan.normalization == "synchronized" and self.strategy.num_replicas_in_sync > 1
        # XLA compiles no exchange: with exchanges inside the model it compiles the parts between them.
        self._whole = self._compiled and not across
        if self._compiled and across:
            tf.config.optimizer.set_jit("autoclustering")
        with self.strategy.scope():
            self.model = keras.models.clone_model(
                built,
                clone_function=LayerCloner(
                    plan.normalization != "local",
                    self.precision,
                    replicas.fuses_normalization(plan, across),
                ),
            )
            optimizer = ScaledSGD if self.precision == "mixed_float16" else keras.optimizers.SGD
            self._optimizer = optimizer(RateTable(self.rates), momentum=plan.momentum)
            self._optimizer.build(self.model.trainable_variables)
        self.export_model = built if plan.objective == "triplet" else with_softmax(built)
        self._frozen: bool | None = None
        self._frozen_normalization = plan.normalization == "frozen"
        self.freeze(False)
        if start:
            for variable, value in zip(self.model.variables, start.values, strict=True):
                variable.value.assign(value)

    def _agreed_precision(self, precision: str) -> str:
        """Choose the precision of all workers: auto is float16 only if every worker has tensor cores."""
        if precision != "auto":
            return precision
        capable = self.sum_over_workers(np.array([float(has_tensor_cores())]))[0]
        return "mixed_float16" if round(capable) == self._workers else "float32"

    @property
    def _loss_scale(self) -> Any:
        """Factor of the loss against float16 underflow; 1 in other precisions."""
        return self._optimizer.scale.value if isinstance(self._optimizer, ScaledSGD) else 1

    def freeze(self, frozen: bool) -> None:
        """Train only the head, or all layers; every worker must switch before the same step.

        Frozen batch normalizations run in inference mode: their statistics do not change.
        """
        if frozen == self._frozen:
            return
        self._frozen = frozen
        for layer in self.model.layers:
            is_normalization = isinstance(layer, keras.layers.BatchNormalization)
            fixed = frozen or (self._frozen_normalization and is_normalization)
            layer.trainable = layer.name in HEADS or not fixed
        # The trainable variables are part of the traced graph. The optimizer was built with all variables.
        alone = self.strategy.num_replicas_in_sync == 1
        self._gradients = self._differentiate
        if alone:
            self._step = _tf_function(self._train_step, jit_compile=self._whole)
            return
        if self._whole:  # the exchange and the update stay outside
            self._gradients = _tf_function(self._differentiate, jit_compile=True)
        self._step = _tf_function(self._distributed_step)

    def step(self, images: Any, labels: Any, share: Any = 1.0) -> Any:
        """Train on one batch; on a GPU this returns before the device is done.

        Args:
            images: uint8 (batch, side, side, 3); of several replicas in this worker the strategy's value.
            labels: int32 (batch,); likewise.
            share: mixup weight of a picture; its partner has the rest; likewise.

        Returns:
            float (2,): this worker's sum of losses and number of correct answers.
        """
        if not isinstance(share, tf.distribute.DistributedValues):
            share = tf.convert_to_tensor(share, tf.float32)
        return self._step(images, labels, share)

    def _distributed_step(self, images: Any, labels: Any, share: Any) -> Any:
        figures = self.strategy.run(self._train_step, (images, labels, share))
        return tf.add_n(self.strategy.experimental_local_results(figures))

    def _train_step(self, images: Any, labels: Any, share: Any) -> Any:
        gradients, figures = self._gradients(images, labels, share)
        self._optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        return figures

    def _differentiate(self, images: Any, labels: Any, share: Any) -> tuple[list[Any], Any]:
        """Gradients of the trainable variables, and the figures of `step`; updates moving statistics."""
        if self._mixup:
            images = mixup(images, share)
        weights = self.model.trainable_variables
        scale = self._loss_scale
        with tf.GradientTape() as tape:
            outputs = self.model(images, training=True)
            losses = self._losses(outputs, labels, share)
            loss = tf.reduce_sum(losses) / self._global_batch * scale
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        decayed = [
            gradient + self._decay * scale * weight.value if weight.name == "kernel" else gradient
            for gradient, weight in zip(gradients, weights, strict=True)
        ]
        correct = (
            count_correct(outputs, labels) if self._margin is None else triplet.count_correct(outputs, labels)
        )
        return decayed, tf.stack([tf.reduce_sum(losses), correct])

    def _losses(self, outputs: Any, labels: Any, share: Any) -> Any:
        """The loss of each picture, float (batch,)."""
        if self._margin is not None:
            return triplet.losses(outputs, labels, self._margin)
        weight = share if self._mixup else None
        losses = cross_entropy(outputs, labels, self._smoothing, weight)
        if not self._class_weights:
            return losses
        return losses * picture_weights(labels, tf.constant(self._class_weights, losses.dtype), weight)

    def sum_over_workers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum `values` over all workers (all-reduce); every worker must call it."""
        if self._workers == 1:
            return values
        replicas_here = replicas.local_count(self.strategy)
        result: NDArray[np.float64] = self._sum(tf.constant(values)).numpy() / replicas_here
        return result

    @_tf_function
    def _sum(self, values: Any) -> Any:
        return self.strategy.reduce(
            tf.distribute.ReduceOp.SUM, self.strategy.run(tf.identity, (values,)), None
        )

    def _local(self, result: Any) -> Any:
        return self.strategy.experimental_local_results(result)[0]

    def sync_moments(self) -> None:
        """Average the moving statistics of local batch normalizations; every worker must call it."""
        moments = local_moments(self.model)
        if not moments or self.strategy.num_replicas_in_sync == 1 or self._frozen:
            return
        values = [
            np.mean([part.numpy() for part in self.strategy.experimental_local_results(moment.value)], axis=0)
            for moment in moments
        ]
        means = self.sum_over_workers(np.concatenate(values).astype(np.float64)) / self._workers
        ends = np.cumsum([len(value) for value in values])
        for moment, mean in zip(moments, np.split(means, ends[:-1]), strict=True):
            moment.value.assign(mean.astype(moment.dtype))

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self._optimizer.variables]

    def values(self) -> tuple[NDArray[Any], ...]:
        """Read all variables, the model's first; they are the same on every worker.

        The read is local: other workers need not call it.
        """
        return tuple(self._local(variable.value).numpy() for variable in self._variables())

    def names(self) -> tuple[str, ...]:
        """Paths of the variables, in the order of `values`."""
        return tuple(variable.path for variable in self._variables())

    def assign(self, values: tuple[NDArray[Any], ...], names: tuple[str, ...] = ()) -> None:
        """Set all variables; every worker must call it with the same values.

        Args:
            values: in the order of `values`.
            names: the variables' paths when they were read; empty if unknown.

        Raises:
            UnusableInitialWeights: they belong to another architecture or other labels.
        """
        shapes = [tuple(variable.shape) for variable in self._variables()]
        if shapes != [value.shape for value in values] or (names and names != self.names()):
            raise UnusableInitialWeights(
                f"the checkpoint's {len(values)} variables do not fit the {len(shapes)} of this "
                f"{self.model.name}: it belongs to another architecture or to other labels"
            )
        for variable, value in zip(self._variables(), values, strict=True):
            variable.value.assign(value)

    def update_export_model(self) -> None:
        """Copy the current weights to `export_model`."""
        values = self.values()[: len(self.export_model.variables)]
        for variable, value in zip(self.export_model.variables, values, strict=True):
            variable.assign(value)
