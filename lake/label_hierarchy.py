"""The label hierarchy: parents, display names and aliases, read from labels.csv. Imports no Spark."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conf.errors import SettingError
from lake.errors import BadLabel
from lake.label_slug import label_slug, written_name


@dataclass(frozen=True)
class Label:
    """One label: its slug, its parent's slug or None, the name that users see, slugs of its other names."""

    name: str
    parent: str | None
    display_name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hierarchy:
    """Labels by slug, and aliases: the slug of another name to the label that it stands for."""

    labels: dict[str, Label]
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "Hierarchy":
        """Read a CSV of label,parent,display_name[,aliases]; labels, parents and aliases become slugs.

        Aliases of a label are separated by semicolons. Parents come before or after the labels below them.

        Raises:
            SettingError: the file cannot be read, lacks a column, has two rows of one slug, names a parent
                that it does not list, or has an alias that is a label or the alias of two labels.
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
        try:
            return cls.of(rows)
        except BadLabel as error:
            raise SettingError(f"labels.file = {str(file)!r}: {error}") from None

    @classmethod
    def of(cls, rows: Iterable[Label]) -> "Hierarchy":
        """Build the hierarchy of labels.

        Raises:
            BadLabel: two rows have one slug, a parent is not listed, or an alias has two meanings.
        """
        labels: dict[str, Label] = {}
        for label in rows:
            if labels.setdefault(label.name, label) != label:
                raise BadLabel(f"two rows are the label {label.name!r}")
        aliases: dict[str, str] = {}
        for label in labels.values():
            if label.parent is not None and label.parent not in labels:
                raise BadLabel(f"parent {label.parent!r} is not a label in it")
            for alias in label.aliases:
                if alias in labels:
                    raise BadLabel(f"the alias {alias!r} of {label.name!r} is a label itself")
                if aliases.setdefault(alias, label.name) != label.name:
                    raise BadLabel(f"{alias!r} is an alias of {aliases[alias]!r} and of {label.name!r}")
        return cls(labels, aliases)

    def with_parents(self, parents: Mapping[str, str | None]) -> "Hierarchy":
        """Add labels that the file does not list, as the table `labels` has them: slug to parent's slug."""
        added = {
            name: Label(name, parent, name) for name, parent in parents.items() if name not in self.labels
        }
        return Hierarchy(self.labels | added, self.aliases)

    def resolve(self, name: str) -> str:
        """The label that a slug stands for: itself, or the label whose alias it is."""
        return self.aliases.get(name, name)

    def expand(self, names: Iterable[str]) -> list[str]:
        """The labels, and after each of them those that lie below it, every label once.

        Args:
            names: slugs of labels or aliases; those that the hierarchy does not know stand for themselves.
        """
        below: dict[str, list[str]] = {}
        for label in self.labels.values():
            if label.parent is not None:
                below.setdefault(label.parent, []).append(label.name)
        found: dict[str, None] = {}

        def add(name: str) -> None:
            if name not in found:  # also ends at a cycle
                found[name] = None
                for child in below.get(name, ()):
                    add(child)

        for name in names:
            add(self.resolve(name))
        return list(found)

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
    aliases = [label_slug(alias) for alias in (row.get("aliases") or "").split(";") if alias.strip()]
    slug = label_slug(name)
    others = tuple(dict.fromkeys(alias for alias in aliases if alias != slug))
    return Label(slug, label_slug(parent) if parent else None, shown, others)
