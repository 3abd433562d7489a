"""Pictures of a source: how their labels are told, and what of a source is left out."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from conf.errors import UsageError

# Other endings are not sent. Broken and unsupported pictures are: refusing them is ingestion's work.
_ENDINGS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp",
    ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif",
})  # fmt: skip
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NAMED = 3  # examples that are kept for each reason


@dataclass(frozen=True)
class Item:
    """A picture of a source: its path there with `/` between the parts, its bytes, its label if one shows."""

    name: str
    content: bytes
    label: str | None


@dataclass
class Skipped:
    """What of a source is not sent.

    Args:
        counts: by reason.
        names: the first few names for each reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, name: str) -> None:
        """Note one member or file."""
        self.counts[reason] += 1
        if len(self.names[reason]) < _NAMED:
            self.names[reason].append(name if len(name) <= 80 else f"{name[:80]}…")

    def __str__(self) -> str:
        """One line: each reason with its count and examples."""
        return "; ".join(
            f"{count:,} × {reason} ({', '.join(map(repr, self.names[reason]))}"
            f"{', …' if count > len(self.names[reason]) else ''})"
            for reason, count in self.counts.items()
        )


class Source(Protocol):
    """Something that pictures can be read from, again and again."""

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read all pictures once, one at a time; notes what is left out."""
        ...


@dataclass(frozen=True)
class Labelling:
    """How a label is told from a path.

    Args:
        pattern: searched in the file name, its group `label` is the label; None takes the parent folder.
    """

    pattern: re.Pattern[str] | None = None

    @classmethod
    def by(cls, pattern: str | None) -> "Labelling":
        """A labelling by a regular expression, or by folder where it is None.

        Raises:
            UsageError: it is no regular expression or lacks the group `label`.
        """
        if pattern is None:
            return cls()
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--label-pattern {pattern!r} is no regular expression: {error}") from None
        if "label" not in compiled.groupindex:
            raise UsageError(f"--label-pattern {pattern!r} has no group named label: write (?P<label>…)")
        return cls(compiled)

    def of(self, name: str) -> str | None:
        """The label of a path with `/` between its parts; None where it shows none."""
        path = PurePosixPath(name)
        if self.pattern is None:
            return path.parent.name.strip() or None
        match = self.pattern.search(path.name)
        return (match["label"] or "").strip() or None if match else None


def unwanted(name: str) -> str | None:
    """Why a path is not sent, or None: it escapes, is hidden, or is no picture by its ending.

    A name without an ending is wanted until its content shows what it is (see `is_picture`).
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        return "path that escapes"
    if any(part.startswith((".", "__MACOSX")) for part in path.parts):
        return "hidden file"
    return None if path.suffix.lower() in _ENDINGS or not path.suffix else "no picture by its ending"


def is_picture(name: str, content: bytes) -> bool:
    """Whether a file is sent: by its ending, or where it has none by its first bytes."""
    return bool(PurePosixPath(name).suffix) or content.startswith(_MAGIC)


def encodable(text: str) -> str:
    """Text that has file names in it, as it can be encoded: bytes that are no UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def printable(name: str) -> str:
    """A file name that can be shown, too: control characters, which a terminal obeys, become U+FFFD."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", encodable(name))
