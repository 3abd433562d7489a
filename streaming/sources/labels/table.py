"""Labels of pictures from a file (`--labels-from`), and names that are replaced (`--label-map`)."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from conf.errors import UsageError
from lake.errors import BadLabel
from lake.label_slug import label_slug, written_name
from streaming.sources.labels.rows import read_rows, read_table

# First rows of --label-map that are headings, without case.
_HEADINGS = {("from", "to"), ("name", "label"), ("from", "label"), ("labelname", "displayname")}
_MACHINE_ID = re.compile(r"/[mgt]/\w+")  # labels of Open Images


@dataclass(frozen=True)
class LabelTable:
    """Labels by the paths of pictures.

    Args:
        file: where they come from, for messages.
        labels: path to its labels; several if the file gives several.
        by_name: file name without folders and ending to its path in `labels`, or None if it is not unique.
    """

    file: str
    labels: Mapping[str, frozenset[str]]
    by_name: Mapping[str, str | None]

    @classmethod
    def read(cls, file: Path) -> "LabelTable":
        """Read a file of `--labels-from`. Open Images' label ids become the names of its class descriptions.

        Raises:
            UsageError: the file cannot be read, or has no row.
        """
        labels: dict[str, frozenset[str]] = {}
        by_name: dict[str, str | None] = {}
        names = _class_descriptions(file)
        for path, label in read_rows("--labels-from", file):
            path = _normal(path)
            known = labels.get(path, frozenset())
            labels[path] = known | {names.get(label, label)} if label else known
            name = _stem(path)
            by_name[name] = path if by_name.get(name, path) == path else None
        if not labels:
            raise UsageError(f"--labels-from {str(file)!r}: it has no row of path,label")
        return cls(str(file), labels, by_name)

    def row_of(self, path: str) -> str | None:
        """The path in the table for a picture: the longest one that its path ends with, or its file name.

        Endings may be missing in the table. Other folders before the file name may differ if no two rows have
        this file name.
        """
        parts = PurePosixPath(unicodedata.normalize("NFC", path)).parts
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            for wanted in (end, str(PurePosixPath(end).with_suffix(""))):
                if wanted in self.labels:
                    return wanted
        found = self.by_name.get(_stem("/".join(parts)))
        same_ending = found is not None and PurePosixPath(found).suffix in {"", PurePosixPath(path).suffix}
        return found if same_ending else None


def read_map(file: Path) -> dict[str, str]:
    """The names of a CSV of name,label: what is written to what is sent; an empty label leaves pictures out.

    Raises:
        UsageError: the file cannot be read, or a row is not name,label, or has what cannot be a label.
    """
    names: dict[str, str] = {}
    for number, row in enumerate(read_table("--label-map", file), start=1):
        if len(row) < 2 or not row[0]:
            raise UsageError(f"--label-map {str(file)!r}: row {number}, {','.join(row)!r}, is not name,label")
        name, label = written_name(row[0]), written_name(row[1])
        if number == 1 and (name.lower(), label.lower()) in _HEADINGS:
            continue
        try:
            if label:
                label_slug(label)
        except BadLabel as error:
            raise UsageError(f"--label-map {str(file)!r}: row {number}: {error}") from None
        if names.setdefault(name, label) != label:
            raise UsageError(
                f"--label-map {str(file)!r}: two rows for {name!r}: {names[name]!r} and {label!r}"
            )
    return names


def _class_descriptions(file: Path) -> dict[str, str]:
    """Names of Open Images' label ids, from a file beside the labels.

    Source: https://storage.googleapis.com/openimages/web/download_v7.html
    """
    return {
        row[0]: row[1]
        for path in sorted(file.parent.glob("*class-descriptions*.csv"))
        for row in read_table("--labels-from", path)
        if len(row) > 1 and _MACHINE_ID.fullmatch(row[0])
    }


def _normal(path: str) -> str:
    path = unicodedata.normalize("NFC", path.strip().replace("\\", "/"))
    return str(PurePosixPath(path.removeprefix("./").lstrip("/")))


def _stem(path: str) -> str:
    return PurePosixPath(path).with_suffix("").name if PurePosixPath(path).name else path
