"""Which images have a sample, and under which label: a local index of what `samples` says."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from streaming.ledger.local_index import LocalIndex

_ASKED = 500  # ids in one question; SQLite takes 32,766


class ImageIndex(LocalIndex):
    """Image ids and the labels their samples were made with.

    Args:
        file: of the index; made where it is missing.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(
            file,
            "CREATE TABLE IF NOT EXISTS images (id BLOB PRIMARY KEY, label TEXT) WITHOUT ROWID;",
        )

    def labels(self, image_ids: Iterable[str]) -> dict[str, str | None]:
        """The label of each image that has a sample; None for one that is disputed already."""
        found: dict[str, str | None] = {}
        ids = [bytes.fromhex(image_id) for image_id in image_ids]
        for start in range(0, len(ids), _ASKED):
            asked = ids[start : start + _ASKED]
            places = ",".join("?" * len(asked))
            rows = self._database.execute(f"SELECT id, label FROM images WHERE id IN ({places})", asked)
            found |= {image_id.hex(): label for image_id, label in rows}
        return found

    def add(self, version: int, labels: Mapping[str, str | None], disputed: Iterable[str]) -> None:
        """Remember new samples, and which are disputed, all or none of them.

        Args:
            version: of the table that holds them.
            labels: of new images; an image that is known keeps its label.
            disputed: images whose label is no longer the only one claimed.
        """
        with self._now_at(version):
            self._insert(labels.items())
            self._database.executemany(
                "UPDATE images SET label = NULL WHERE id = ?",
                ((bytes.fromhex(image_id),) for image_id in disputed),
            )

    def replace(self, version: int, labels: Iterable[tuple[str, str | None]]) -> None:
        """Make the index anew.

        Args:
            version: of the table that was read.
            labels: image ids and labels of all of it.
        """
        with self._now_at(version):
            self._database.execute("DELETE FROM images")
            self._insert(labels)

    def _insert(self, labels: Iterable[tuple[str, str | None]]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO images VALUES (?, ?)",
            ((bytes.fromhex(image_id), label) for image_id, label in labels),
        )
