"""Checkpoint of a streaming query, read and checked before Spark reads it.

Spark trusts these files. If the newest offsets are missing but their commit exists, Spark reuses a batch id
for other records, and Delta skips them as already written. If the metadata is missing, Spark creates a new
query id, and Delta skips nothing. This module detects both; its errors name the file and the next step.

Layout (Spark 4.2, OffsetSeqLog and CommitLog): `metadata` holds the query id. Spark writes `offsets/N` before
batch N runs and `commits/N` after it. Both have a version line and a JSON line about the batch; `offsets/N`
also has a line with the end offsets of each source. `sources/0/0` holds the start offsets of the first batch,
after a NUL byte.
"""

import json
from dataclasses import dataclass
from typing import Any

from lake.errors import StorageError
from lake.storage import Storage
from streaming.errors import DamagedCheckpoint

LOG_VERSION = "v1"


@dataclass(frozen=True)
class QueryCheckpoint:
    """Progress of a query.

    Args:
        planned: newest batch that was started, -1 for none.
        committed: newest batch that was committed, -1 for none.
        offsets: end offsets of the newest committed batch, or start offsets of the first batch; None if no
            batch was planned.
    """

    planned: int
    committed: int
    offsets: dict[str, Any] | None

    @classmethod
    def read(cls, storage: Storage, recovery: str) -> "QueryCheckpoint | None":
        """Read the checkpoint at the storage's root; None if there is none.

        Args:
            recovery: for the error message: what happens after the folder was moved away.

        Raises:
            DamagedCheckpoint: a file is missing or damaged.
        """
        reader = _Reader(storage, recovery)
        return reader.checkpoint() if reader.names else None


class _Reader:
    def __init__(self, storage: Storage, recovery: str) -> None:
        self._storage = storage
        self._recovery = recovery
        # Spark's own temporary files and checksums begin with a dot.
        self.names = [name for name in storage.list_files() if not name.rpartition("/")[2].startswith(".")]

    def checkpoint(self) -> QueryCheckpoint:
        offsets, commits = self._batch_ids("offsets"), self._batch_ids("commits")
        planned, committed = max(offsets, default=-1), max(commits, default=-1)
        if "metadata" not in self.names:
            raise self._damaged("metadata", "is missing")
        if not isinstance(self._parse_json("metadata", self._read_text("metadata")).get("id"), str):
            raise self._damaged("metadata", "has no id")
        if committed > planned:
            raise self._damaged(f"offsets/{committed}", "is missing, but its batch was committed")
        if planned > 0 and committed < planned and planned - 1 not in offsets:
            raise self._damaged(f"offsets/{planned - 1}", "is missing")
        if committed < planned - 1 and planned > 0:
            raise self._damaged(f"commits/{planned - 1}", "is missing, but a later batch was started")
        if committed >= 0:
            self._read_lines(f"commits/{committed}", 2)
        if planned >= 0:
            self._end_offsets(planned)
        return QueryCheckpoint(planned, committed, self._resume_offsets(planned, committed))

    def _resume_offsets(self, planned: int, committed: int) -> dict[str, Any] | None:
        if committed >= 0:
            return self._end_offsets(committed)
        if "sources/0/0" in self.names:
            text = self._read_text("sources/0/0").lstrip("\0")
            version, _, offsets = text.partition("\n")
            if version != LOG_VERSION:
                raise self._damaged("sources/0/0", f"begins with {version[:20]!r}")
            return self._parse_json("sources/0/0", offsets)
        return None

    def _batch_ids(self, folder: str) -> set[int]:
        paths = [name.split("/") for name in self.names]
        return {
            int(parts[1]) for parts in paths if len(parts) == 2 and parts[0] == folder and parts[1].isdigit()
        }

    def _end_offsets(self, batch: int) -> dict[str, Any]:
        name = f"offsets/{batch}"
        return self._parse_json(name, self._read_lines(name, 3)[2])

    def _read_lines(self, name: str, count: int) -> list[str]:
        if name not in self.names:
            raise self._damaged(name, "is missing")
        lines = self._read_text(name).split("\n")
        if lines[0] != LOG_VERSION:
            raise self._damaged(name, f"begins with {lines[0][:20]!r}, not {LOG_VERSION!r}")
        if len(lines) < count:
            raise self._damaged(name, f"has {len(lines)} lines instead of {count}: it is truncated")
        self._parse_json(name, lines[1])
        return lines

    def _read_text(self, name: str) -> str:
        try:
            return self._storage.read(name).decode()
        except (StorageError, UnicodeDecodeError) as error:
            raise self._damaged(name, f"cannot be read ({error})") from None

    def _parse_json(self, name: str, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._damaged(name, f"has {text[:40]!r} instead of JSON")
        return value

    def _damaged(self, name: str, fault: str) -> DamagedCheckpoint:
        return damaged_checkpoint(self._storage.root, f"its file {name} {fault}", self._recovery)


def is_checksum_error(error: str) -> bool:
    """Whether a Spark error says that a checkpoint file does not match its checksum."""
    return "Checksum error" in error or "ChecksumException" in error


def damaged_checkpoint(root: str, fault: str, recovery: str) -> DamagedCheckpoint:
    """Make the error for a checkpoint that cannot be used.

    Args:
        root: folder of the checkpoint.
        fault: what is wrong with it.
        recovery: what happens after the folder was moved away.
    """
    return DamagedCheckpoint(
        f"the checkpoint {root} is damaged: {fault}; nothing was ingested. Move that folder away and run "
        f"`hub ingest` again: {recovery}"
    )
