"""A local index of `samples`: the images that have a sample, and their labels."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from streaming.ledger.local_index import LocalIndex

_IDS_PER_QUERY = 500  # SQLite's limit is 32,766


class ImageIndex(LocalIndex):
    """Image ids and the labels that their samples were created with.

    Args:
        file: of the index; created if it is missing.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(
            file,
            "CREATE TABLE IF NOT EXISTS images (id BLOB PRIMARY KEY, label TEXT) WITHOUT ROWID;",
        )

    def labels(self, image_ids: Iterable[str]) -> dict[str, str | None]:
        """The labels of those images that have a sample; None for an image with a label conflict."""
        labels: dict[str, str | None] = {}
        ids = [bytes.fromhex(image_id) for image_id in image_ids]
        for start in range(0, len(ids), _IDS_PER_QUERY):
            chunk = ids[start : start + _IDS_PER_QUERY]
            marks = ",".join("?" * len(chunk))
            rows = self._database.execute(f"SELECT id, label FROM images WHERE id IN ({marks})", chunk)
            labels |= {image_id.hex(): label for image_id, label in rows}
        return labels

    def add(self, version: int, labels: Mapping[str, str | None], conflicting: Iterable[str]) -> None:
        """Add new samples and label conflicts, in one transaction.

        Args:
            version: table version of `samples` that contains them.
            labels: of new images; an image that is in the index keeps its label.
            conflicting: ids of images that were uploaded with a second label.
        """
        with self._transaction(version):
            self._insert(labels.items())
            self._database.executemany(
                "UPDATE images SET label = NULL WHERE id = ?",
                ((bytes.fromhex(image_id),) for image_id in conflicting),
            )

    def replace(self, version: int, labels: Iterable[tuple[str, str | None]]) -> None:
        """Rebuild the index.

        Args:
            version: table version of `samples` that was read.
            labels: image ids and labels of the whole table.
        """
        with self._transaction(version):
            self._database.execute("DELETE FROM images")
            self._insert(labels)

    def _insert(self, labels: Iterable[tuple[str, str | None]]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO images VALUES (?, ?)",
            ((bytes.fromhex(image_id), label) for image_id, label in labels),
        )
