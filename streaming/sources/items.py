"""Pictures of a source, and its files that are skipped."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EXAMPLES = 3  # names kept for each reason


@dataclass(frozen=True)
class Item:
    """A picture of a source.

    Args:
        name: path in the source, with `/` as separator.
        content: the bytes of the file; empty if only names are read.
        label: as it is written; None if the picture has none.
        unlabelled: why it has none.
        row: the path in the file of `--labels-from` from which the label comes, or empty.
    """

    name: str
    content: bytes
    label: str | None
    unlabelled: str = "no label"
    row: str = ""


@dataclass
class Skipped:
    """The skipped files and members of a source, by reason.

    Args:
        counts: number of files for each reason.
        names: the first few names for each reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, name: str) -> None:
        """Record one skipped file or member."""
        self.counts[reason] += 1
        if len(self.names[reason]) < _EXAMPLES:
            self.names[reason].append(name if len(name) <= 80 else f"{name[:80]}…")

    def __str__(self) -> str:
        """One line: each reason with its count and examples."""
        return "; ".join(
            f"{count:,} × {reason} ({', '.join(map(repr, self.names[reason]))}"
            f"{', …' if count > len(self.names[reason]) else ''})"
            for reason, count in self.counts.items()
        )


class Source(Protocol):
    """A source of pictures that can be read repeatedly."""

    @property
    def root(self) -> str:
        """Name of the folder that names of pictures are relative to; empty for an archive."""
        ...

    def items(self, skipped: Skipped, names_only: bool = False) -> Iterator[Item]:
        """Read all pictures once, one at a time; skipped files are recorded.

        Args:
            names_only: leave contents empty. Files are opened only where the content decides whether they are
                pictures. Damaged ones are not found.
        """
        ...


def encodable(text: str) -> str:
    """Make text with file names encodable as UTF-8: undecodable bytes become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def printable(name: str) -> str:
    """Make a file name safe to print: control characters, which a terminal would obey, become U+FFFD."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", encodable(name))
