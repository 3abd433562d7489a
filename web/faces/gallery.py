"""The faces of a model's dataset as vectors in memory, for comparison. They are never written anywhere."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.errors import DamagedSnapshot, UndecodablePicture
from lake.pictures.pixels import RGB, decode
from lake.snapshot import DatasetSnapshot, Split
from models.pictures import inputs

_SIDE = 1024  # of decoded pictures; stored ones are smaller

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Identity:
    """A label whose pictures a face was compared with.

    Args:
        label: slug.
        distance: squared distance of the vectors of the face and of the nearest picture with this label, 0–4.
    """

    label: str
    distance: float


@dataclass(frozen=True)
class Gallery:
    """Vectors of faces, one of each picture.

    Args:
        image_ids: n ids.
        vectors: float32 (n, size), each of length 1.
    """

    image_ids: tuple[str, ...]
    vectors: NDArray[np.float32]

    def only(self, image_ids: Mapping[str, str]) -> "Gallery":
        """The gallery without pictures that are not named."""
        if all(image_id in image_ids for image_id in self.image_ids):
            return self
        kept = [n for n, image_id in enumerate(self.image_ids) if image_id in image_ids]
        return Gallery(tuple(self.image_ids[n] for n in kept), self.vectors[kept])

    def nearest(self, vector: Vector, labels: Mapping[str, str], count: int) -> list[Identity]:
        """The nearest labels.

        Args:
            vector: float32 (size,), of length 1.
            labels: label of each image id.
            count: most identities.
        """
        if not self.image_ids:
            return []
        distances = squared_distances(self.vectors, vector)
        found: dict[str, float] = {}
        for n in np.argsort(distances, kind="stable"):
            found.setdefault(labels[self.image_ids[n]], float(distances[n]))
            if len(found) == count:
                break
        return [Identity(label, round(distance, 4)) for label, distance in found.items()]


def squared_distances(vectors: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
    """Squared Euclidean distances (n,) of vectors of length 1, (n, size) and (size,): 0 to 4."""
    distances: NDArray[np.float32] = np.clip(2 - 2 * vectors @ vector, 0, 4)
    return distances


def build(
    snapshot: DatasetSnapshot, most: int, embed: Callable[[RGB], Vector | None], report: Callable[[int], None]
) -> Gallery:
    """Look for a face in pictures of a dataset, the same number of each label, and embed the largest ones.

    Args:
        snapshot: the dataset.
        most: pictures.
        embed: from a picture to the vector of its largest face; None without a face.
        report: called with the number of pictures so far; what it raises ends the work.

    Raises:
        DamagedSnapshot: it, or a picture of it, cannot be read.
    """
    image_ids, vectors = [], []
    chosen = _chosen(snapshot, max(1, most // max(1, len(snapshot.labels))))
    for number, (image_id, jpeg) in enumerate(chosen):
        report(number)
        try:
            rgb = decode(jpeg, _SIDE)
        except (OSError, UndecodablePicture) as error:
            raise DamagedSnapshot(f"picture {image_id} cannot be decoded: {error}") from None
        vector = embed(rgb)
        if vector is not None:
            image_ids.append(image_id)
            vectors.append(vector)
    return Gallery(tuple(image_ids), np.stack(vectors) if vectors else np.zeros((0, 1), np.float32))


def _chosen(snapshot: DatasetSnapshot, of_label: int) -> Iterator[tuple[str, bytes]]:
    """Image ids and JPEGs of the first pictures of each label; shards without one are not read."""
    counts: Counter[int] = Counter()
    for split in Split:
        if not snapshot.row_count(split):
            continue
        wanted = []
        for row, label in enumerate(inputs.read_labels(snapshot, split).tolist()):
            counts[label] += 1
            if counts[label] <= of_label:
                wanted.append(row)
        yield from _rows(snapshot, split, wanted)


def _rows(snapshot: DatasetSnapshot, split: Split, wanted: list[int]) -> Iterator[tuple[str, bytes]]:
    if not wanted:
        return
    chosen, row = set(wanted), 0
    for batch in snapshot.batches(split, 0, wanted[-1] + 1):
        rows = [n for n in range(len(batch)) if row + n in chosen]
        row += len(batch)
        for found in batch.select(["image_id", "jpeg"]).take(pa.array(rows, pa.int64())).to_pylist():
            yield found["image_id"], found["jpeg"]
