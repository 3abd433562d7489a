"""Pictures of a source: their labels from paths, and which files are skipped."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from conf.errors import UsageError

# Files with other endings are not sent. Broken and unsupported pictures are sent: ingestion rejects them.
_ENDINGS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp",
    ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif",
})  # fmt: skip
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EXAMPLES = 3  # names kept for each reason


@dataclass(frozen=True)
class Item:
    """A picture of a source: its path in the source with `/` as separator, its bytes, its label or None."""

    name: str
    content: bytes
    label: str | None


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

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read all pictures once, one at a time; skipped files are recorded."""
        ...


@dataclass(frozen=True)
class Labelling:
    """Rule that derives a label from a path.

    Args:
        pattern: searched in the file name, its group `label` is the label; None: the parent folder's name.
    """

    pattern: re.Pattern[str] | None = None

    @classmethod
    def from_pattern(cls, pattern: str | None) -> "Labelling":
        """Label by a regular expression, or by folder if it is None.

        Raises:
            UsageError: the regular expression is invalid or has no group `label`.
        """
        if pattern is None:
            return cls()
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--label-pattern {pattern!r} is not a valid regex: {error}") from None
        if "label" not in compiled.groupindex:
            raise UsageError(f"--label-pattern {pattern!r} has no group named label: write (?P<label>…)")
        return cls(compiled)

    def label_of(self, name: str) -> str | None:
        """The label of a path with `/` as separator, or None."""
        path = PurePosixPath(name)
        if self.pattern is None:
            return path.parent.name.strip() or None
        match = self.pattern.search(path.name)
        return (match["label"] or "").strip() or None if match else None


def skip_reason(name: str) -> str | None:
    """Why a path is skipped, or None: it leaves the source, is hidden, or has no picture ending.

    For a name without an ending, the content decides (see `is_picture`).
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        return "path that escapes"
    if any(part.startswith((".", "__MACOSX")) for part in path.parts):
        return "hidden file"
    return None if path.suffix.lower() in _ENDINGS or not path.suffix else "no picture by its ending"


def is_picture(name: str, content: bytes) -> bool:
    """Whether a file is sent: always with an ending (see `skip_reason`), otherwise by its first bytes."""
    return bool(PurePosixPath(name).suffix) or content.startswith(_MAGIC)


def encodable(text: str) -> str:
    """Make text with file names encodable as UTF-8: undecodable bytes become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def printable(name: str) -> str:
    """Make a file name safe to print: control characters, which a terminal would obey, become U+FFFD."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", encodable(name))
