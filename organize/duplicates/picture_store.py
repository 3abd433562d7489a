"""Local store (SQLite) of what near duplicates are searched with and verified on: prints, hashes, pairs.

All of it is derived: prints from the stored pictures of the ledger, pairs from the table `duplicate_pairs`.
So pictures are compared without reading the ledger's pixels for each micro-batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from organize.duplicates.comparison.picture_square import SIDE
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.comparison.verification import Match, Print
from organize.duplicates.hash_bands import bands_of, bit_difference
from streaming.ledger.local_index import LocalIndex

_PER_QUERY = 500  # SQLite's limit is 32,766 parameters
_SAME_BAND = 2000  # entries of a band that are looked at; more only if thousands of pictures look alike

_TABLES = """
    PRAGMA secure_delete = ON;
    CREATE TABLE IF NOT EXISTS prints (
        key INTEGER PRIMARY KEY, id BLOB UNIQUE, square BLOB, width INTEGER, height INTEGER, framed INTEGER,
        phash INTEGER, mirror INTEGER);
    CREATE TABLE IF NOT EXISTS bands (
        band INTEGER, bits INTEGER, key INTEGER, PRIMARY KEY (band, bits, key)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pairs (
        first BLOB, second BLOB, relation TEXT, correlation REAL, significance REAL,
        PRIMARY KEY (first, second)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS seconds ON pairs (second);
    CREATE TABLE IF NOT EXISTS random_pairs (
        first BLOB, second BLOB, significance REAL, PRIMARY KEY (first, second)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class StoredPicture:
    """A picture to store.

    Args:
        print: what it is verified on.
        phash: of the picture, without a frame around it.
        mirror: pHash of its mirror image, likewise.
    """

    print: Print
    phash: int
    mirror: int


class PictureStore(LocalIndex):
    """Prints, hashes and pairs of the pictures of a lake.

    Args:
        file: of the SQLite database; created if it is missing.
        distance: bits by which hashes of candidates may differ.
    """

    def __init__(self, file: Path, distance: int) -> None:
        super().__init__(file, _TABLES)
        self.distance = distance
        if self.state("distance") not in ("", str(distance)):
            self._rebuild_bands()
        self.set_state("distance", str(distance))

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM prints").fetchone()[0])

    def state(self, name: str) -> str:
        """A value that was kept with the store; empty if there is none."""
        row = self._database.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_state(self, name: str, value: str) -> None:
        """Keep a value with the store."""
        self._database.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    def add(self, pictures: Iterable[StoredPicture]) -> None:
        """Add pictures in one transaction; those that are stored already stay as they are."""
        with self._transaction(self.version()):
            for picture in pictures:
                self._add(picture)

    def _add(self, picture: StoredPicture) -> None:
        one = picture.print
        print_row = (_key(one.image_id), one.square.tobytes(), *one.size, one.framed)
        added = self._database.execute(
            "INSERT OR IGNORE INTO prints (id, square, width, height, framed, phash, mirror) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*print_row, picture.phash, picture.mirror),
        )
        if added.rowcount:
            self._add_bands(added.lastrowid or 0, picture.phash)

    def _add_bands(self, key: int, phash: int) -> None:
        bands = enumerate(map(_signed, bands_of(phash, self.distance)))
        self._database.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?, ?)", ((band, bits, key) for band, bits in bands)
        )

    def _rebuild_bands(self) -> None:
        with self._transaction(self.version()):
            self._database.execute("DELETE FROM bands")
            for key, phash in self._database.execute("SELECT key, phash FROM prints").fetchall():
                self._add_bands(key, phash)

    def prints(self, image_ids: Iterable[str]) -> dict[str, Print]:
        """The prints of those images that are stored."""
        found = {}
        for marks, keys in _chunks(image_ids):
            for image, square, width, height, framed in self._database.execute(
                f"SELECT id, square, width, height, framed FROM prints WHERE id IN ({marks})", keys
            ):
                pixels = np.frombuffer(square, np.uint8).reshape(SIDE, SIDE)
                found[image.hex()] = Print(image.hex(), pixels, (width, height), bool(framed))
        return found

    def missing(self, image_ids: Iterable[str]) -> set[str]:
        """Those images that are not stored."""
        wanted = set(image_ids)
        for marks, keys in _chunks(wanted.copy()):
            rows = self._database.execute(f"SELECT id FROM prints WHERE id IN ({marks})", keys)
            wanted -= {image.hex() for (image,) in rows}
        return wanted

    def first_images(self, count: int) -> list[str]:
        """The images with the smallest ids."""
        rows = self._database.execute("SELECT id FROM prints ORDER BY id LIMIT ?", (count,))
        return [image.hex() for (image,) in rows]

    def same_hash(self, image_id: str, limit: int) -> list[str]:
        """Images whose pHash is near that of an image, or of its mirror image: the smallest ids first.

        Args:
            limit: number of images, at most.
        """
        row = self._database.execute(
            "SELECT phash, mirror FROM prints WHERE id = ?", (_key(image_id),)
        ).fetchone()
        found = set()
        for wanted in row or ():
            for band, bits in enumerate(map(_signed, bands_of(wanted, self.distance))):
                near = self._database.execute(
                    "SELECT id, phash FROM bands JOIN prints USING (key) WHERE band = ? AND bits = ? LIMIT ?",
                    (band, bits, _SAME_BAND),
                )
                found |= {
                    image.hex() for image, phash in near if bit_difference(phash, wanted) <= self.distance
                }
        return sorted(found - {image_id})[:limit]

    def add_pairs(self, version: int, matches: Iterable[Match]) -> None:
        """Add verified pairs in one transaction.

        Args:
            version: table version of `duplicate_pairs` that has them.
        """
        with self._transaction(version):
            self._insert_pairs(matches)

    def replace_pairs(self, version: int, matches: Iterable[Match]) -> None:
        """Replace all pairs by those of a table version of `duplicate_pairs`."""
        with self._transaction(version):
            self._database.execute("DELETE FROM pairs")
            self._insert_pairs(matches)

    def _insert_pairs(self, matches: Iterable[Match]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO pairs VALUES (?, ?, ?, ?, ?)",
            (
                (_key(m.first), _key(m.second), m.relation.value, m.correlation, m.significance)
                for m in matches
            ),
        )

    def pairs_of(self, image_ids: Iterable[str]) -> list[Match]:
        """All pairs of some images, each once."""
        found: set[Match] = set()
        for marks, keys in _chunks(image_ids):
            for side in ("first", "second"):
                rows = self._database.execute(f"SELECT * FROM pairs WHERE {side} IN ({marks})", keys)
                found.update(map(_match, rows))
        return sorted(found, key=lambda match: (match.first, match.second))

    def all_pairs(self) -> Iterator[Match]:
        """All pairs."""
        yield from map(
            _match, self._database.execute("SELECT * FROM pairs ORDER BY first, second").fetchall()
        )

    def random_significances(self) -> dict[tuple[str, str], float]:
        """Significance of the random pairs that were compared."""
        rows = self._database.execute("SELECT * FROM random_pairs")
        return {(first.hex(), second.hex()): value for first, second, value in rows}

    def set_random_significances(self, values: dict[tuple[str, str], float]) -> None:
        """Keep the significance of random pairs; those of other pairs are deleted."""
        with self._transaction(self.version()):
            self._database.execute("DELETE FROM random_pairs")
            self._database.executemany(
                "INSERT INTO random_pairs VALUES (?, ?, ?)",
                ((_key(first), _key(second), value) for (first, second), value in values.items()),
            )

    def keep_only(self, image_ids: Iterable[str]) -> int:
        """Delete all other images with their hashes and pairs; the bytes are overwritten on the disk.

        Returns:
            number of deleted images.
        """
        database = self._database
        with self._transaction(self.version()):
            database.execute("CREATE TEMP TABLE IF NOT EXISTS kept (id BLOB PRIMARY KEY) WITHOUT ROWID")
            database.execute("DELETE FROM kept")
            database.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((_key(i),) for i in image_ids))
            gone = "SELECT key FROM prints WHERE id NOT IN (SELECT id FROM kept)"
            database.execute(f"DELETE FROM bands WHERE key IN ({gone})")
            deleted = database.execute("DELETE FROM prints WHERE id NOT IN (SELECT id FROM kept)").rowcount
            for table in ("pairs", "random_pairs"):
                database.execute(
                    f"DELETE FROM {table} WHERE first NOT IN (SELECT id FROM kept) "
                    "OR second NOT IN (SELECT id FROM kept)"
                )
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted


def _key(image_id: str) -> bytes:
    return bytes.fromhex(image_id)


def _signed(bits: int) -> int:
    """A band as SQLite's signed 64-bit integer."""
    return bits - (1 << 64) if bits >= 1 << 63 else bits


def _match(row: tuple[bytes, bytes, str, float, float]) -> Match:
    first, second, relation, correlation, significance = row
    return Match(first.hex(), second.hex(), Relation(relation), correlation, significance)


def _chunks(image_ids: Iterable[str]) -> Iterator[tuple[str, Sequence[bytes]]]:
    """Placeholders and keys of the ids, in parts."""
    remaining = iter(image_ids)
    while keys := [_key(image_id) for image_id in islice(remaining, _PER_QUERY)]:
        yield ",".join("?" * len(keys)), keys
