"""Scores of labels outside the cross-validation: of new uploads, and of labels that cannot be judged there.

A scorer learns from all judged labels. The label check saves it, and each upload is scored as it arrives.
"""

import io
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from lake.erasure.curation import PROBES
from lake.errors import StorageError
from lake.storage import Storage
from organize.labels.probe import Floats, Probe, Projection

_FILE = "scorer.npz"


@dataclass(frozen=True)
class Scorer:
    """A linear probe of the embeddings of a model.

    Args:
        labels: of its outputs.
        images: number of images with an embedding at the label check.
        thresholds: for each label, the mean probability that the cross-validation gave to its pictures.
        projection, probe: from embeddings to probabilities.
    """

    labels: tuple[str, ...]
    images: int
    thresholds: Floats
    projection: Projection
    probe: Probe

    @classmethod
    def fit(
        cls,
        vectors: Floats,
        labels: NDArray[np.int64],
        names: tuple[str, ...],
        probabilities: Floats,
        penalty: float,
        images: int,
    ) -> Self:
        """Learn from judged labels.

        Args:
            vectors: float32 (rows, numbers) of length 1.
            labels: label index of each row, of a label that is believed.
            names: of the labels.
            probabilities: of the cross-validation, (rows, labels).
            penalty: of the probe.
            images: number of images with an embedding.
        """
        projection = Projection.fit(vectors)
        probe = Probe.fit(projection(vectors), labels, len(names), penalty)
        return cls(names, images, thresholds(probabilities, labels), projection, probe)

    def probabilities(self, vectors: Floats) -> Floats:
        """Probabilities of the labels, float32 (rows, labels)."""
        return self.probe.probabilities(self.projection(vectors))

    def save(self, settings: Settings, model_id: str) -> None:
        """Save the scorer of a model's embeddings."""
        file = io.BytesIO()
        np.savez(
            file,
            labels=np.array(self.labels),
            images=self.images,
            thresholds=self.thresholds,
            mean=self.projection.mean,
            matrix=self.projection.matrix,
            weights=self.probe.weights,
        )
        _storage(settings, model_id).write(_FILE, file.getvalue())

    @classmethod
    def load(cls, settings: Settings, model_id: str) -> Self | None:
        """Load the scorer of a model's embeddings; None before the first label check."""
        storage = _storage(settings, model_id)
        if not storage.exists(_FILE):
            return None
        try:
            with np.load(io.BytesIO(storage.read(_FILE)), allow_pickle=False) as arrays:
                return cls(
                    tuple(map(str, arrays["labels"])),
                    int(arrays["images"]),
                    arrays["thresholds"],
                    Projection(arrays["mean"], arrays["matrix"]),
                    Probe(arrays["weights"]),
                )
        except (ValueError, KeyError, OSError) as error:
            raise StorageError(
                f"{storage.root}/{_FILE} cannot be read ({error}): run `hub labels check` to write it again"
            ) from None


def _storage(settings: Settings, model_id: str) -> Storage:
    return Storage(settings.lake.at(PROBES, model_id), settings.s3)


def thresholds(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """Mean probability of each label over its own pictures (Northcutt et al. 2021, equation 2)."""
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, own, minlength=probabilities.shape[1])
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    return (sums / np.maximum(counts, 1)).astype(np.float32)
