"""The labels that a push would send, counted before anything is sent, and what is wrong with them."""

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lake.errors import BadLabel
from lake.label_slug import label_slug, written_name
from streaming.errors import UnusableLabels
from streaming.sources.items import Item, Skipped
from streaming.sources.labels.labelling import Labelling
from streaming.sources.labels.layouts import layout_folders, ways_out

_SHOWN = 3
_NAMES_KEPT = 1000
_MANY = 10
# Endings of files that may have labels, and words of which their names have one.
_LABEL_WORDS = ("label", "annotation", "class", "train", "metadata", "instances")
_LABEL_FILES = dict.fromkeys((".csv", ".tsv", ".json", ".jsonl"), _LABEL_WORDS) | {".txt": ("annotation",)}


@dataclass
class LabelFiles(Skipped):
    """Skipped files; those that may have labels are kept by name."""

    files: list[str] = field(default_factory=list)

    def add(self, reason: str, name: str) -> None:
        """Record one skipped file."""
        super().add(reason, name)
        path = PurePosixPath(name.lower())
        if any(word in path.name for word in _LABEL_FILES.get(path.suffix, ())):
            self.files = sorted([*self.files, name])[:_SHOWN]


@dataclass
class LabelSurvey:
    """Pictures by label.

    Args:
        source: of the push, for messages.
        labelling: how labels are found.
        root: name of the source if that is a folder.
        listed: slugs of the labels that ingestion accepts; None for all.
        skipped: files that are no pictures, and pictures without a label.
        labels: written label to number of pictures.
        labelled: number of pictures with a label.
        problems: written label to why it cannot be a label.
    """

    source: str
    labelling: Labelling
    root: str = ""
    listed: frozenset[str] | None = None
    skipped: LabelFiles = field(default_factory=LabelFiles)
    labels: Counter[str] = field(default_factory=Counter)
    labelled: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    _folders: Counter[str] = field(default_factory=Counter)
    _names: list[str] = field(default_factory=list)
    _rows: dict[str, str] = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(0))
    _pictures: int = 0

    def add(self, item: Item) -> None:
        """Count a picture.

        Raises:
            UnusableLabels: a row of the label file names two pictures.
        """
        self._keep_name(item.name)
        if item.row and self._rows.setdefault(item.row, item.name) != item.name:
            table = self.labelling.table
            raise UnusableLabels(
                f"{self.source}: row {item.row!r} of {table and table.file} names two pictures, "
                f"{self._rows[item.row]!r} and {item.name!r}: write their whole paths"
            )
        if item.label is None:
            self.skipped.add(item.unlabelled, item.name)
            return
        self.labelled += 1
        self.labels[item.label] += 1
        if self.labels[item.label] == 1 and (problem := self._problem(item.label)):
            self.problems[item.label] = problem
        if self.labelling.by_folder:
            folder = self.labelling.folder_path(item.name, self.root)
            # A name that the user has mapped is meant as a label.
            if written_name(folder.rpartition("/")[2]) not in self.labelling.names:
                self._folders[folder] += 1

    def slugs(self) -> dict[str, list[str]]:
        """Slug to its written labels, the most frequent first; without labels that have a problem."""
        found: dict[str, list[str]] = {}
        for label, _ in self.labels.most_common():
            if label not in self.problems:
                found.setdefault(label_slug(label), []).append(label)
        return found

    def notes(self) -> list[str]:
        """What a user may not expect: names that are one label, too few or too many labels, unused rows."""
        notes = [
            f"{_listed(list(map(repr, names)))} are one label: {slug}"
            for slug, names in self.slugs().items()
            if len(names) > 1
        ]
        if len(self.labels) == 1 and self.labels.total() > 1:
            notes.append(f"all pictures have the label {next(iter(self.labels))!r}")
        if self.labelling.by_folder and len(self.labels) == self.labels.total() >= _MANY:
            notes.append("every picture has a label of its own: --label-from names another folder")
        table = self.labelling.table
        unused = len(table.labels) - len(self._rows) if table else 0
        if table and unused:
            notes.append(f"{unused:,} rows of {table.file} name no picture of the source")
        return notes

    def problem(self) -> str | None:
        """Why nothing should be sent, and what helps; None if the labels can be used."""
        found = self._wrong_layout() or self._unusable()
        return found and f"{self.source}: {found}"

    def _problem(self, label: str) -> str | None:
        try:
            slug = label_slug(label)
        except BadLabel as error:
            return str(error)
        if self.listed is not None and slug not in self.listed:
            return f"{label!r}, slug {slug}, is not in labels.file, and labels.mode is closed"
        return None

    def _wrong_layout(self) -> str | None:
        found, files = layout_folders(self._folders), self.skipped.files
        if not found and len(self._folders) == 1 and files:  # one label, and a file that may have the others
            found = Counter({PurePosixPath(next(iter(self._folders))).name: self._folders.total()})
        if not found:
            return None
        shown = _listed([f"{name!r} ({count:,} pictures)" for name, count in found.most_common()])
        ways = ways_out(self._names, self.root, files)
        ways = ways or ["--labels-from FILE", "--label-pattern '(?P<label>…)'"]
        name = _cell(next(iter(found)))
        return (
            f"nothing was sent: the labels would be {shown}, but these look like folders of a dataset. "
            f"Try {'; or '.join(ways)}. If they are labels, give --label-map FILE.csv with lines such as "
            f"`{name},{name}`"
        )

    def _unusable(self) -> str | None:
        if not self.problems:
            return None
        first = _cell(next(iter(self.problems)))
        return (
            f"nothing was sent: {len(self.problems):,} of {len(self.labels):,} names cannot be labels: "
            f"{_listed(list(self.problems.values()), '; ')}. Give --label-map FILE.csv with a line for each, "
            f"such as `{first},NAME`; without a NAME, its pictures are left out"
        )

    def _keep_name(self, name: str) -> None:
        """Keep a random sample of all names."""
        self._pictures += 1
        if len(self._names) < _NAMES_KEPT:
            self._names.append(name)
        elif (at := self._random.randrange(self._pictures)) < _NAMES_KEPT:
            self._names[at] = name


def _listed(texts: list[str], separator: str = ", ") -> str:
    """The first few texts."""
    return separator.join(texts[:_SHOWN]) + (f"{separator}…" if len(texts) > _SHOWN else "")


def _cell(text: str) -> str:
    """A text as a cell of a CSV."""
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if set(text) & {",", '"'} else text
