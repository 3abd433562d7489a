"""What the index on this machine contains: which files of the table, in which segments."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

FILE = "index.json"
FORMAT = 1


@dataclass(frozen=True)
class SegmentEntry:
    """A segment: the name of its files, its rows, and whether it is sealed (has a compressed index)."""

    name: str
    rows: int
    sealed: bool = False


@dataclass(frozen=True)
class Manifest:
    """The state of an index. It is written last, so files that it does not name are left from a crash.

    Args:
        version: of the table that the index reflects; -1 for none.
        size: numbers of a vector; 0 while there is none.
        files: names of the table's data files whose rows are in the index.
        segments: the sealed ones first, the tail last.
        counter: number of the next segment, so that names are never used again.
    """

    version: int = -1
    size: int = 0
    files: frozenset[str] = frozenset()
    segments: tuple[SegmentEntry, ...] = ()
    counter: int = 0

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the manifest of a folder; None if there is none, or it is damaged or of another format."""
        try:
            content = json.loads((folder / FILE).read_bytes())
            if content.pop("format") != FORMAT:
                return None
            entries = tuple(SegmentEntry(**entry) for entry in content.pop("segments"))
            return cls(segments=entries, files=frozenset(content.pop("files")), **content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, folder: Path) -> None:
        """Write the manifest atomically."""
        content = asdict(self) | {"format": FORMAT, "files": sorted(self.files)}
        draft = folder / f"{FILE}.new"
        with draft.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / FILE)
