"""Synthetic embeddings: skewed, with scenes and hard negatives, as real ones have them.

A picture belongs to a label (a few labels have most pictures), to a scene of this label, and has noise of
its own. All of that happens in 64 dimensions, which a random layer with ReLU lifts to 1,280: embeddings of
networks are not negative and have few dimensions, too. Near duplicates are the same picture with little
noise. Hard negatives are other pictures of the same scene: their cosine is high, but they are not the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organize.features.vectors import Vectors, to_unit

LATENT, SIZE = 64, 1280
_LABELS, _SCENES = 1000, 20_000


@dataclass(frozen=True)
class Pictures:
    """Embeddings in the 64 dimensions in which they were made.

    Args:
        latent: float32 (n, 64).
        lift: float32 (64, size), of the random layer.
    """

    latent: Vectors
    lift: Vectors

    def __len__(self) -> int:
        return len(self.latent)

    def vectors(self, first: int = 0, last: int | None = None) -> Vectors:
        """The embeddings of length 1 of a range, (n, size)."""
        return to_unit(np.maximum(self.latent[first:last] @ self.lift, 0))

    def batches(self, rows: int) -> Iterator[tuple[int, Vectors]]:
        """All embeddings, `rows` at once, each with the number of its first."""
        for first in range(0, len(self), rows):
            yield first, self.vectors(first, first + rows)

    def near_duplicates(self, rows: NDArray[np.int64], seed: int) -> "Pictures":
        """The same pictures with little noise: their cosine is about 0.98."""
        noise = np.random.default_rng(seed).normal(0, 0.15, (len(rows), LATENT))
        return Pictures((self.latent[rows] + noise).astype(np.float32), self.lift)


def pictures(count: int, seed: int) -> Pictures:
    """Embeddings of pictures; those of two seeds are of the same labels and scenes, but no duplicates."""
    world, own = np.random.default_rng(1), np.random.default_rng(seed)
    labels = world.normal(0, 1, (_LABELS, LATENT))
    scene_labels = np.minimum(world.zipf(1.3, _SCENES) - 1, _LABELS - 1)
    scenes = labels[scene_labels] + world.normal(0, 0.7, (_SCENES, LATENT))
    lift = world.normal(0, 1, (LATENT, SIZE)).astype(np.float32)
    weights = 1 / np.arange(1, _SCENES + 1) ** 0.7
    chosen = own.choice(_SCENES, count, p=weights / weights.sum())
    latent = (scenes[chosen] + own.normal(0, 0.5, (count, LATENT))).astype(np.float32)
    return Pictures(latent, lift)
