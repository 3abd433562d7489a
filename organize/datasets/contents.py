"""The images of a dataset snapshot, without their pixels: ids, labels, splits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lake.snapshot import DatasetSnapshot, Split


@dataclass(frozen=True)
class DatasetContents:
    """The images of a dataset snapshot, in the order of its shards.

    Args:
        labels: names; the position is the label index.
        image_ids: (n,).
        label_indices: int32 (n,).
        splits: int8 (n,), positions in `Split`.
    """

    labels: tuple[str, ...]
    image_ids: NDArray[np.object_]
    label_indices: NDArray[np.int32]
    splits: NDArray[np.int8]

    @classmethod
    def read(cls, snapshot: DatasetSnapshot) -> "DatasetContents":
        """Read them from the shards.

        Raises:
            DamagedSnapshot: a shard cannot be read.
        """
        ids: list[NDArray[np.object_]] = [np.zeros(0, object)]
        labels, splits = [np.zeros(0, np.int32)], [np.zeros(0, np.int8)]
        for place, split in enumerate(Split):
            for column in snapshot.column(split, "image_id"):
                ids.append(column.to_numpy())
                splits.append(np.full(len(column), place, np.int8))
            labels += [column.to_numpy() for column in snapshot.column(split, "label")]
        return cls(snapshot.labels, np.concatenate(ids), np.concatenate(labels), np.concatenate(splits))

    def counts(self) -> dict[str, dict[str, int]]:
        """Label to split to number of images."""
        found = {label: {split.value: 0 for split in Split} for label in self.labels}
        for place, split in enumerate(Split):
            numbers = np.bincount(self.label_indices[self.splits == place], minlength=len(self.labels))
            for label, images in zip(self.labels, numbers.tolist(), strict=True):
                found[label][split.value] = images
        return found

    def first_of_labels(self, number: int) -> dict[str, list[str]]:
        """Label to the ids of its first images."""
        return {
            label: self.image_ids[np.flatnonzero(self.label_indices == index)[:number]].tolist()
            for index, label in enumerate(self.labels)
        }

    def places(self) -> dict[str, tuple[str, str]]:
        """Image id to its label and split."""
        names, splits = np.array(self.labels, object), np.array([each.value for each in Split], object)
        rows = zip(self.image_ids, names[self.label_indices], splits[self.splits], strict=True)
        return {image_id: (label, split) for image_id, label, split in rows}
