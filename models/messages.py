"""What workers tell the driver while they train; JSON on the wire."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from models.nets.verification import Embeddings


@dataclass(frozen=True)
class Registered:
    """The first word of a worker: its process."""

    worker: int
    pid: int
    host: str


@dataclass(frozen=True)
class Alive:
    """The process lives; sent every second, by a thread of its own.

    Args:
        worker: which.
        moves: steps that it has made in all.
        doing: what it is at; `STEPPING` is held to a step's time.
    """

    worker: int
    moves: int
    doing: str


STEPPING = "training"


@dataclass(frozen=True)
class Disconnected:
    """A worker's connection has ended without it having said that it is done or why not; never sent."""

    worker: int


@dataclass(frozen=True)
class Started:
    """A worker has its pictures and its model.

    `resumed_from` is the number of epochs that an earlier attempt had finished, 0 for none.
    """

    worker: int
    epochs: int
    steps: int
    batch: int
    resumed_from: int


@dataclass(frozen=True)
class Stepped:
    """A step is done; sent about twice a second. Loss and accuracy are the worker's, since the epoch began.

    Epochs and steps count from 1.
    """

    worker: int
    epoch: int
    step: int
    images_per_second: float
    loss: float
    accuracy: float


@dataclass(frozen=True)
class EpochEnded:
    """An epoch is over: figures over all workers. Validation figures are None where nothing was measured.

    `input_wait_share` is the mean over the workers of the share of `seconds` that waited for pictures.
    """

    worker: int
    epoch: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    input_wait_share: float = 0.0


@dataclass(frozen=True)
class Tested:
    """A worker's share of the test split, row by row.

    `ranks` are the places of the true labels in the answers, 0 for the likeliest.
    """

    worker: int
    image_ids: list[str]
    labels: list[int]
    predicted: list[int]
    probabilities: list[float]
    ranks: list[int]


@dataclass(frozen=True)
class Embedded:
    """A worker's share of a split as vectors: float32 (n, size), little-endian, in base64."""

    worker: int
    split: str
    image_ids: list[str]
    labels: list[int]
    vectors: str


@dataclass(frozen=True)
class Working:
    """A sign of life from work that has no steps, and what it is."""

    worker: int
    what: str


@dataclass(frozen=True)
class Done:
    """A worker has finished and written what it had to write.

    `cpu_seconds` is the processor time of its process, user and system, children included.
    """

    worker: int
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Failed:
    """A worker stopped.

    Args:
        worker: which; -1 where only Spark told.
        cause: type and message of the exception, one line.
        kind: a value of `failures.Kind`.
    """

    worker: int
    cause: str
    kind: str


Message = Registered | Alive | Started | Stepped | EpochEnded | Tested | Embedded | Working | Done | Failed

_KINDS = {
    kind.__name__: kind
    for kind in (Registered, Alive, Started, Stepped, EpochEnded, Tested, Embedded, Working, Done, Failed)
}


def packed(worker: int, split: str, found: Embeddings) -> Embedded:
    """Embeddings as a message."""
    vectors = base64.b64encode(found.vectors.astype("<f4").tobytes()).decode()
    return Embedded(worker, split, list(found.image_ids), found.labels.tolist(), vectors)


def unpacked(messages: Sequence[Embedded]) -> Embeddings:
    """The embeddings of several messages, one after the other."""
    parts = [
        np.frombuffer(base64.b64decode(message.vectors), "<f4").reshape(len(message.labels), -1)
        for message in messages
        if message.labels
    ]
    return Embeddings(
        tuple(image_id for message in messages for image_id in message.image_ids),
        np.array([label for message in messages for label in message.labels], np.int32),
        np.concatenate(parts) if parts else np.zeros((0, 1), np.float32),
    )


def encode(message: Message) -> bytes:
    """A message as one JSON object."""
    return json.dumps({"message": type(message).__name__, **asdict(message)}).encode()


def decode(data: bytes) -> Message:
    """The message that `encode` made these bytes of.

    Raises:
        ValueError, TypeError, KeyError: the bytes are not such a message.
    """
    values = json.loads(data)
    kind = _KINDS[values.pop("message")]
    message: Message = kind(**values)
    return message
