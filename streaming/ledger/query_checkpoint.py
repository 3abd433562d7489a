"""What a streaming query's checkpoint says, read before Spark reads it.

Spark trusts these files. Where the newest offsets are gone and their commit is not, it gives a batch id to
other records, and Delta drops them as seen; where the metadata is gone, it takes a new id and
Delta sees nothing as seen. So both are found here, with one line that names the file and the way out.

Layout (Spark 4.2, OffsetSeqLog and CommitLog): `metadata` holds the query's id; `offsets/N` is written before
batch N is run and `commits/N` after it, each a version line, a JSON line about the batch and, in offsets, a
line with the end offsets of each source; `sources/0/0` holds where the first batch began, behind a NUL byte.
"""

import json
from dataclasses import dataclass
from typing import Any

from lake.errors import StorageError
from lake.storage import Storage
from streaming.errors import DamagedCheckpoint

VERSION = "v1"


@dataclass(frozen=True)
class Checkpoint:
    """What a query has done.

    Args:
        planned: newest batch that was begun, -1 for none.
        committed: newest batch that was done, -1 for none.
        position: end offsets of the newest committed batch, or where the first begins; None where
            no batch was planned.
    """

    planned: int
    committed: int
    position: dict[str, Any] | None

    @classmethod
    def read(cls, storage: Storage, way_out: str) -> "Checkpoint | None":
        """Read the checkpoint at the storage's root; None where there is none.

        Args:
            way_out: what the reader of an error is to do, after the folder has been moved away.

        Raises:
            DamagedCheckpoint: a file is missing or is not what Spark has written.
        """
        reader = _Reader(storage, way_out)
        return reader.checkpoint() if reader.names else None


class _Reader:
    def __init__(self, storage: Storage, way_out: str) -> None:
        self._storage = storage
        self._way_out = way_out
        # Spark's own temporary files and checksums begin with a dot.
        self.names = [name for name in storage.names() if not name.rpartition("/")[2].startswith(".")]

    def checkpoint(self) -> Checkpoint:
        offsets, commits = self._batches("offsets"), self._batches("commits")
        planned, committed = max(offsets, default=-1), max(commits, default=-1)
        if "metadata" not in self.names:
            raise self._damaged("metadata", "is missing")
        if not isinstance(self._json("metadata", self._text("metadata")).get("id"), str):
            raise self._damaged("metadata", "holds no id")
        if committed > planned:
            raise self._damaged(f"offsets/{committed}", "is missing, but its batch was committed")
        if planned > 0 and committed < planned and planned - 1 not in offsets:
            raise self._damaged(f"offsets/{planned - 1}", "is missing")
        if committed < planned - 1 and planned > 0:
            raise self._damaged(f"commits/{planned - 1}", "is missing, but a later batch was begun")
        if committed >= 0:
            self._lines(f"commits/{committed}", 2)
        if planned >= 0:
            self._offsets(planned)
        return Checkpoint(planned, committed, self._position(planned, committed))

    def _position(self, planned: int, committed: int) -> dict[str, Any] | None:
        if committed >= 0:
            return self._offsets(committed)
        if "sources/0/0" in self.names:
            text = self._text("sources/0/0").lstrip("\0")
            version, _, offsets = text.partition("\n")
            if version != VERSION:
                raise self._damaged("sources/0/0", f"begins with {version[:20]!r}")
            return self._json("sources/0/0", offsets)
        return None

    def _batches(self, folder: str) -> set[int]:
        found = [name.split("/") for name in self.names]
        return {
            int(parts[1]) for parts in found if len(parts) == 2 and parts[0] == folder and parts[1].isdigit()
        }

    def _offsets(self, batch: int) -> dict[str, Any]:
        name = f"offsets/{batch}"
        return self._json(name, self._lines(name, 3)[2])

    def _lines(self, name: str, count: int) -> list[str]:
        if name not in self.names:
            raise self._damaged(name, "is missing")
        lines = self._text(name).split("\n")
        if lines[0] != VERSION:
            raise self._damaged(name, f"begins with {lines[0][:20]!r}, not {VERSION!r}")
        if len(lines) < count:
            raise self._damaged(name, f"has {len(lines)} lines of {count}: it was cut off")
        self._json(name, lines[1])
        return lines

    def _text(self, name: str) -> str:
        try:
            return self._storage.read(name).decode()
        except (StorageError, UnicodeDecodeError) as error:
            raise self._damaged(name, f"cannot be read ({error})") from None

    def _json(self, name: str, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._damaged(name, f"holds {text[:40]!r} where JSON must stand")
        return value

    def _damaged(self, name: str, what: str) -> DamagedCheckpoint:
        return damaged(self._storage.root, f"its file {name} {what}", self._way_out)


def differs(error: str) -> bool:
    """Whether Spark says in an error that a checkpoint's file is not as it was written."""
    return "Checksum error" in error or "ChecksumException" in error


def damaged(root: str, what: str, way_out: str) -> DamagedCheckpoint:
    """The error for a checkpoint that cannot be used.

    Args:
        root: of the checkpoint.
        what: is wrong with it.
        way_out: what happens after it was moved away.
    """
    return DamagedCheckpoint(
        f"the checkpoint {root} is damaged: {what}; nothing was taken. Move that folder away and run "
        f"`hub ingest` again: {way_out}"
    )
