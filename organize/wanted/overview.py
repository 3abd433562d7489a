"""All labels as a tree, with their pictures and what they lack. Needs no Spark session."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from conf.settings import Settings
from lake import row_writer
from lake.label_hierarchy import Hierarchy
from lake.row_writer import literal
from lake.schemas import EXCLUDING_FLAGS
from lake.snapshot import Split
from lake.table import Table
from organize.wanted import watch_list

_COUNTS = (
    "SELECT label, split, count(*) AS images, "
    "count(*) FILTER (WHERE suggested_label IS NOT NULL) AS doubtful "
    "FROM rows WHERE {usable} GROUP BY label, split"
)


@dataclass(frozen=True)
class LabelCounts:
    """A label and its pictures.

    Args:
        label: slug.
        display_name: that users see.
        parent: slug of the label above; None at the top.
        accepted: uploads with the label.
        images: samples with the label that datasets may contain.
        splits: of these images, split to number; those without a split are left out.
        doubtful: of these images, those for which the label check suggests another label.
        ready: whether it has enough images to be trained on.
        watchers: users who wait for it.
    """

    label: str
    display_name: str
    parent: str | None
    accepted: int = 0
    images: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    doubtful: int = 0
    ready: bool = False
    watchers: Sequence[str] = ()


def load(settings: Settings) -> dict[str, LabelCounts]:
    """All labels that have pictures, are listed in labels.csv or are watched, by slug.

    Raises:
        SettingError: labels.csv cannot be read.
        StorageError: the lake cannot be read.
    """
    names = ("label", "parent", "display_name", "accepted")
    rows = {row["label"]: row for row in row_writer.read(settings, Table.LABELS, names)}
    hierarchy = hierarchy_of(settings, rows)
    watched = watch_list.watchers(settings)
    usable = " AND ".join(f"NOT array_has(flags, {literal(flag)})" for flag in EXCLUDING_FLAGS)
    counted: dict[str, dict[str | None, tuple[int, int]]] = {}
    for row in row_writer.query(settings, Table.SAMPLES, _COUNTS.format(usable=usable)):
        counted.setdefault(row["label"], {})[row["split"]] = (row["images"], row["doubtful"])
    found = {}
    for label in sorted({*hierarchy.labels, *rows, *counted, *watched}):
        listed, row = hierarchy.labels.get(label), rows.get(label, {})
        splits = counted.get(label, {})
        images = sum(images for images, _ in splits.values())
        found[label] = LabelCounts(
            label=label,
            display_name=(row.get("display_name") or (listed.display_name if listed else label)),
            parent=listed.parent if listed else row.get("parent"),
            accepted=row.get("accepted") or 0,
            images=images,
            splits={split.value: splits.get(split.value, (0, 0))[0] for split in Split},
            doubtful=sum(doubtful for _, doubtful in splits.values()),
            ready=images >= settings.labels.ready_images,
            watchers=tuple(watched.get(label, ())),
        )
    return found


def hierarchy_of(settings: Settings, rows: Mapping[str, Mapping[str, str | None]]) -> Hierarchy:
    """The hierarchy of labels.csv, and parents in the table `labels` of labels that it does not list."""
    parents = {label: row["parent"] for label, row in rows.items()}
    return Hierarchy.read(settings.labels.file).with_parents(parents)


def walk(labels: Mapping[str, LabelCounts]) -> Iterator[tuple[int, LabelCounts]]:
    """Depth-first, each label after the one above it: depth (0 at the top) and label."""
    below: dict[str | None, list[str]] = {}
    for label in labels.values():
        parent = label.parent if label.parent in labels else None
        below.setdefault(parent, []).append(label.label)
    seen: set[str] = set()

    def down(name: str, depth: int) -> Iterator[tuple[int, LabelCounts]]:
        if name not in seen:
            seen.add(name)
            yield depth, labels[name]
            for child in below.get(name, ()):
                yield from down(child, depth + 1)

    for top in below.get(None, ()):
        yield from down(top, 0)
    for name in labels:  # labels that lie below each other
        yield from down(name, 0)


def with_pictures(labels: Mapping[str, LabelCounts]) -> set[str]:
    """Labels that have uploads, images or watchers, and those above them."""
    shown: set[str] = set()
    for label in labels.values():
        if label.accepted or label.images or label.watchers:
            name: str | None = label.label
            while name is not None and name not in shown:
                shown.add(name)
                name = labels[name].parent if name in labels else None
    return shown & set(labels)
