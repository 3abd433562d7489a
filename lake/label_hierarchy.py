"""The label hierarchy, read from labels.csv. Imports no Spark."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conf.errors import SettingError
from lake.errors import BadLabel
from lake.label_slug import label_slug, written_name


@dataclass(frozen=True)
class Label:
    """One label: its slug, its parent's slug or None, and the name that users see."""

    name: str
    parent: str | None
    display_name: str


@dataclass(frozen=True)
class Hierarchy:
    """Labels by slug."""

    labels: dict[str, Label]

    @classmethod
    def read(cls, file: Path) -> "Hierarchy":
        """Read a CSV of label,parent,display_name; labels and parents become slugs.

        Raises:
            SettingError: the file cannot be read, lacks a column, has two rows of one slug, or names a parent
                that it does not list.
        """
        try:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                table = csv.DictReader(lines)
                missing = {"label", "parent", "display_name"}.difference(table.fieldnames or ())
                if missing:
                    raise KeyError(f"no column {min(missing)}")
                rows = [_label(row) for row in table]
        except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
            raise SettingError(
                f"labels.file = {str(file)!r}: cannot read label,parent,display_name from it "
                f"({type(error).__name__}: {error}); name another file with HUB__LABELS__FILE"
            ) from None
        except BadLabel as error:
            raise SettingError(
                f"labels.file = {str(file)!r}: {error}; the name that users see is in the column display_name"
            ) from None
        labels: dict[str, Label] = {}
        for label in rows:
            if labels.setdefault(label.name, label) != label:
                raise SettingError(f"labels.file = {str(file)!r}: two rows are the label {label.name!r}")
        for label in rows:
            if label.parent is not None and label.parent not in labels:
                raise SettingError(
                    f"labels.file = {str(file)!r}: parent {label.parent!r} is not a label in it"
                )
        return cls(labels)

    def ancestors(self, name: str) -> Iterator[str]:
        """Parent, its parent, and so on; ends at a cycle."""
        seen = {name}
        label = self.labels.get(name)
        while label is not None and label.parent is not None and label.parent not in seen:
            yield label.parent
            seen.add(label.parent)
            label = self.labels.get(label.parent)

    def may_flip(self, names: Iterable[str], no_flip_parents: Iterable[str]) -> bool:
        """Whether pictures with these labels keep their label when they are mirrored.

        A mirrored `b` is a `d`: labels below `no_flip_parents`, and single characters that the file does not
        list, must not be flipped.
        """
        forbidden = set(map(label_slug, no_flip_parents))
        return not any(
            name in forbidden
            or forbidden.intersection(self.ancestors(name))
            or (name not in self.labels and len(name) == 1)
            for name in names
        )


def _label(row: dict[str, str | None]) -> Label:
    name, parent = row["label"] or "", row["parent"]
    shown = written_name(row["display_name"] or "") or written_name(name)
    return Label(label_slug(name), label_slug(parent) if parent else None, shown)
