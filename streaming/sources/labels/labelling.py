"""Rule that gives each picture of a source its label."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from conf.errors import UsageError
from lake.label_slug import written_name
from streaming.sources.items import Item
from streaming.sources.labels.table import LabelTable, read_map

PARENT = -1
# Why a picture has no label.
LEFT_OUT, SEVERAL = "left out by --label-map", "several labels"
_FOLDER = re.compile(r"folder(?::([+-]?[1-9]\d?))?")


@dataclass(frozen=True)
class LabelFlags:
    """The flags of a command that say where labels come from, as they were typed.

    Args:
        pattern: regular expression, searched in file names; its group `label` is the label.
        folder: `folder:N`, the N-th folder of the path; below zero it is counted from the picture.
        table: file with the columns path,label, or in another format of `labels.rows`.
        names: CSV of name,label.
    """

    pattern: str | None = None
    folder: str | None = None
    table: str | None = None
    names: str | None = None


@dataclass(frozen=True)
class Labelling:
    """Rule that derives a label from a path.

    Args:
        folder: the folder that names the label: -1 is the picture's own folder, -2 the one above, 1 the first
            below the source.
        pattern: searched in the file name, its group `label` is the label; None: the folder is.
        table: labels by path; then folders and names are not used.
        names: written labels that are replaced; those that become empty are left out.
    """

    folder: int = PARENT
    pattern: re.Pattern[str] | None = None
    table: LabelTable | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, flags: LabelFlags, source: str) -> "Labelling":
        """Read the flags' files.

        Args:
            source: the files may also lie in this folder.

        Raises:
            UsageError: two flags contradict each other, or one of them cannot be used.
        """
        given = {"--label-pattern": flags.pattern, "--label-from": flags.folder, "--labels-from": flags.table}
        used = [flag for flag, value in given.items() if value is not None]
        if len(used) > 1:
            raise UsageError(f"{used[0]} and {used[1]} both say where labels come from: give one of them")
        return cls(
            _folder(flags.folder),
            _pattern(flags.pattern),
            None if flags.table is None else LabelTable.read(_beside(flags.table, source)),
            {} if flags.names is None else read_map(_beside(flags.names, source)),
        )

    @classmethod
    def from_pattern(cls, pattern: str | None) -> "Labelling":
        """Label by a regular expression, or by folder if it is None.

        Raises:
            UsageError: the regular expression is invalid or has no group `label`.
        """
        return cls(pattern=_pattern(pattern))

    @property
    def by_folder(self) -> bool:
        """Whether labels are names of folders."""
        return self.pattern is None and self.table is None

    def item(self, name: str, content: bytes, root: str = "") -> Item:
        """The picture with its label.

        Args:
            name: its path in the source.
            root: name of the source if that is a folder: the label of pictures directly in it.
        """
        label, unlabelled, row = self._claim(name, root)
        if label is None:
            return Item(name, content, None, unlabelled, row)
        mapped = self.names.get(label, label)
        if not mapped:
            return Item(name, content, None, LEFT_OUT, row)
        return Item(name, content, mapped, row=row)

    def folder_path(self, name: str, root: str = "") -> str:
        """The path of the folder that names the label."""
        return folder_path(name, root, self.folder)

    def label_of(self, name: str, root: str = "") -> str | None:
        """The label of a path with `/` as separator, or None."""
        return self.item(name, b"", root).label

    def _claim(self, name: str, root: str) -> tuple[str | None, str, str]:
        """The written label or None, why it is None, and the row of the table."""
        row = ""
        if self.table is not None:
            row = self.table.row_of(f"{root}/{name}" if root else name) or ""
            labels = self.table.labels.get(row, frozenset())
            if len(labels) > 1 and self.names:
                labels = frozenset(self.names.get(label, label) for label in labels) - {""}
            if len(labels) > 1:
                return None, SEVERAL, row
            label = next(iter(labels), "")
        elif self.pattern is not None:
            match = self.pattern.search(PurePosixPath(name).name)
            label = match["label"] or "" if match else ""
        else:
            label = folder_of(name, root, self.folder)
        return written_name(label) or None, "no label", row


def folder_of(name: str, root: str, number: int) -> str:
    """The name of a folder in a path, or an empty text; numbers as in `Labelling`."""
    return folder_path(name, root, number).rpartition("/")[2]


def folder_path(name: str, root: str, number: int) -> str:
    """The path of the folder that `folder_of` names, or an empty text."""
    return _folder_path(name.rpartition("/")[0], root, number)


@lru_cache(maxsize=1 << 12)
def _folder_path(parent: str, root: str, number: int) -> str:
    folders = PurePosixPath(root, *PurePosixPath(parent).parts).parts
    end = number + bool(root) if number > 0 else len(folders) + 1 + number
    return "/".join(folders[:end]) if 0 < end <= len(folders) else ""


def _folder(text: str | None) -> int:
    match = _FOLDER.fullmatch(text or "folder")
    if match is None:
        raise UsageError(
            f"--label-from {text!r}: write folder:-2 for the folder above a picture's own, or folder:1 for "
            "the first below the source"
        )
    return int(match[1] or PARENT)


def _pattern(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--label-pattern {pattern!r} is not a valid regex: {error}") from None
    if "label" not in compiled.groupindex:
        raise UsageError(f"--label-pattern {pattern!r} has no group named label: write (?P<label>…)")
    return compiled


def _beside(name: str, source: str) -> Path:
    """The file, or one of this name in the source folder if there is none."""
    file = Path(name).expanduser()
    inside = Path(source).expanduser() / name
    return inside if not file.exists() and inside.is_file() else file
