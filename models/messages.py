"""Messages from training workers to the driver, one JSON object each."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from models.nets.verification import Embeddings


@dataclass(frozen=True)
class Registered:
    """The first message of a worker: its process."""

    worker: int
    pid: int
    host: str


@dataclass(frozen=True)
class Alive:
    """A heartbeat, sent every second by its own thread.

    Args:
        worker: its number.
        moves: steps done in this process.
        doing: current phase; in `STEPPING` the watchdog limits the time of a step.
    """

    worker: int
    moves: int
    doing: str


STEPPING = "training"


@dataclass(frozen=True)
class Disconnected:
    """A worker's connection closed before `Done` or `Failed`; created on the driver, never sent."""

    worker: int


@dataclass(frozen=True)
class Started:
    """A worker has loaded its pictures and built its model.

    `resumed_from` is the number of epochs that earlier attempts finished, 0 for none.
    """

    worker: int
    epochs: int
    steps: int
    batch: int
    resumed_from: int


@dataclass(frozen=True)
class Stepped:
    """A step is done; sent about twice a second. Epochs and steps count from 1.

    Loss and accuracy are means of this worker since the epoch began.
    """

    worker: int
    epoch: int
    step: int
    images_per_second: float
    loss: float
    accuracy: float


@dataclass(frozen=True)
class EpochEnded:
    """An epoch is done: metrics over all workers. Validation metrics are None where nothing was measured.

    Args:
        worker, epoch, loss, accuracy, validation_loss, validation_accuracy, learning_rate: as named.
        seconds: of all steps.
        images_per_second: of all workers, in the steps.
        input_wait_share: part of `seconds` spent waiting for input, averaged over the workers.
        exchange_share: part of `seconds` that the exchanges of all steps take between idle devices.
        measuring_seconds: for validation after the steps, and for the checkpoint of the epoch before.
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
    exchange_share: float = 0.0
    measuring_seconds: float = 0.0


@dataclass(frozen=True)
class Tested:
    """A worker's predictions for its share of the test split, row by row.

    `ranks` are the ranks of the true labels among the predictions, 0 for the most probable one.
    """

    worker: int
    image_ids: list[str]
    labels: list[int]
    predicted: list[int]
    probabilities: list[float]
    ranks: list[int]


@dataclass(frozen=True)
class Embedded:
    """Embeddings of a worker's share of a split: float32 (n, size), little-endian, in base64."""

    worker: int
    split: str
    image_ids: list[str]
    labels: list[int]
    vectors: str


@dataclass(frozen=True)
class Working:
    """A phase without steps has begun, for example `testing`."""

    worker: int
    what: str


@dataclass(frozen=True)
class Done:
    """A worker has finished and written its files.

    `cpu_seconds` is the CPU time of its process, user and system, children included.
    """

    worker: int
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Failed:
    """A worker failed.

    Args:
        worker: its number; -1 where Spark's report names none.
        cause: type and message of the exception, one line.
        kind: a value of `worker_failures.FailureKind`.
    """

    worker: int
    cause: str
    kind: str


Message = Registered | Alive | Started | Stepped | EpochEnded | Tested | Embedded | Working | Done | Failed

_KINDS = {
    kind.__name__: kind
    for kind in (Registered, Alive, Started, Stepped, EpochEnded, Tested, Embedded, Working, Done, Failed)
}


def pack_embeddings(worker: int, split: str, embeddings: Embeddings) -> Embedded:
    """Convert embeddings to a message."""
    vectors = base64.b64encode(embeddings.vectors.astype("<f4").tobytes()).decode()
    return Embedded(worker, split, list(embeddings.image_ids), embeddings.labels.tolist(), vectors)


def unpack_embeddings(messages: Sequence[Embedded]) -> Embeddings:
    """Concatenate the embeddings of several messages."""
    vectors = [
        np.frombuffer(base64.b64decode(message.vectors), "<f4").reshape(len(message.labels), -1)
        for message in messages
        if message.labels
    ]
    return Embeddings(
        tuple(image_id for message in messages for image_id in message.image_ids),
        np.array([label for message in messages for label in message.labels], np.int32),
        np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32),
    )


def encode(message: Message) -> bytes:
    """Encode a message as one JSON object."""
    return json.dumps({"message": type(message).__name__, **asdict(message)}).encode()


def decode(data: bytes) -> Message:
    """Decode a message that `encode` wrote.

    Raises:
        ValueError, TypeError, KeyError: the bytes are not such a message.
    """
    values = json.loads(data)
    kind = _KINDS[values.pop("message")]
    message: Message = kind(**values)
    return message
