"""What a training run is asked to do, and what each of its workers is told. No Spark, no TensorFlow."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from conf.settings import Settings
from lake.snapshot import Snapshot
from lake.storage import Storage

# The sides are repeated here so that a command can check a name without importing Keras; a test compares.
SIDES = {
    "resnet20": 32,
    "resnet32": 32,
    "resnet56": 32,
    "resnet18": 224,
    "resnet34": 224,
    "resnet50": 224,
}

# Pictures per worker and step by side, where train.batch_size is 0: what a step costs besides its pictures
# (one exchange for every batch normalization) against memory (about 90 MB a picture at 224 px).
BATCHES = {32: 64, 224: 16}


OBJECTIVES = ("labels", "triplet")


class Pixels(StrEnum):
    """What a model does to RGB 0–255 before its first convolution."""

    UNIT = "unit"  # scaled to -1..1
    CAFFE = (
        "caffe"  # blue, green, red less ImageNet's mean: what keras.applications' ResNet-50 was trained on
    )


@dataclass(frozen=True)
class TrainingPlan:
    """A training run's settings.

    Args:
        dataset_id: of the snapshot.
        workers: TensorFlow workers, one per Spark executor.
        architecture: a key of `SIDES`.
        epochs: passes over the training split.
        batch_size: images per worker and step; less where a worker has fewer images.
        learning_rate: for a global batch of 128, scaled linearly with the real one.
        warmup_epochs: of the linear climb to that rate.
        momentum: of SGD.
        weight_decay: L2 on kernels, not on biases or batch normalization.
        seed: of weights, order and augmentation.
        flip: mirror pictures; None does what the dataset allows.
        augment: crop (and flip) at random; False takes the centre.
        floatx: Keras' float type; float64 is for comparing runs to the last digit.
        weights: file of Keras weights to start from; empty for none.
        source: model id or .keras file to start from; empty for none.
        precision: auto, float32, mixed_float16 or mixed_bfloat16; auto is decided on the workers' devices.
        cache_mb: decoded pixels a worker keeps in memory (MiB); what does not fit is decoded every epoch.
        randaugment: operations on each picture; 0 for none.
        randaugment_magnitude: 0 to 10.
        mixup: parameters of its Beta distribution; 0 for none.
        label_smoothing: share of the target that all labels divide.
        objective: labels, or triplet for embeddings.
        embedding: size of their vectors.
        triplet_margin: in squared distance.
        images_per_label: of a label in a batch of triplets.
        freeze_epochs: first epochs in which only the head learns; the rest answers as in inference.
        normalization: synchronized, by the batches of all workers, or local, by each worker's own.
        pixels: a value of `Pixels`; empty takes what the start was trained on.
    """

    dataset_id: str
    workers: int
    architecture: str
    epochs: int
    batch_size: int
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
    freeze_epochs: int = 0
    objective: str = "labels"
    embedding: int = 128
    triplet_margin: float = 0.2
    images_per_label: int = 4
    cache_mb: int = 2048
    randaugment: int = 0
    randaugment_magnitude: float = 0.0
    mixup: float = 0.0
    label_smoothing: float = 0.0
    precision: str = "float32"
    normalization: str = "synchronized"
    pixels: str = ""

    @classmethod
    def of(cls, settings: Settings, dataset_id: str, workers: int, **given: Any) -> Self:
        """A plan with the settings' defaults for all that is not given (None counts as not given)."""
        train = settings.train
        chosen = {name: value for name, value in given.items() if value is not None}
        architecture = chosen.get("architecture", train.arch)
        defaults: dict[str, Any] = {
            "architecture": architecture,
            "epochs": train.epochs,
            "batch_size": train.batch_size or BATCHES.get(SIDES.get(architecture, 0), 1),
            "learning_rate": train.learning_rate,
            "warmup_epochs": train.warmup_epochs,
            "momentum": train.momentum,
            "weight_decay": train.weight_decay,
            "seed": train.seed,
            "embedding": train.embedding,
            "triplet_margin": train.triplet_margin,
            "images_per_label": train.images_per_label,
            "cache_mb": train.cache_mb,
            "randaugment": train.randaugment,
            "randaugment_magnitude": train.randaugment_magnitude,
            "mixup": train.mixup,
            "label_smoothing": train.label_smoothing,
            "precision": train.precision,
            "normalization": train.normalization,
            "pixels": "" if train.pixels == "auto" else train.pixels,
        }
        return cls(dataset_id=dataset_id, workers=workers, **(defaults | chosen))

    @property
    def group(self) -> int:
        """Pictures that a batch must be a multiple of."""
        return self.images_per_label if self.objective == "triplet" else 1

    @property
    def side(self) -> int:
        """Side of the square pictures the model takes (pixels)."""
        return SIDES[self.architecture]


@dataclass(frozen=True)
class WorkerTask:
    """What every worker is sent; picklable.

    Args:
        plan: the run's settings.
        model_id: of the run.
        snapshot: the images.
        artifacts: where the run's files go.
        address: host and port of the driver's listener.
        authkey: what the listener asks for.
        run: what is the same in every attempt of this run and in no other (see `identity.of`).
        keep: checkpoints.
        patience: how long a worker that has failed waits for the driver to end the attempt (seconds).
    """

    plan: TrainingPlan
    model_id: str
    snapshot: Snapshot
    artifacts: Storage
    address: tuple[str, int]
    authkey: bytes
    run: str = ""
    keep: int = 2
    patience: float = 300.0

    def __contains__(self, name: str) -> bool:
        """TensorFlowOnSpark asks whether its arguments name a number of GPUs; ours leave it to Spark."""
        return False
