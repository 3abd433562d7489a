"""Places labels that labels.csv does not list below others, in the table `labels`. Needs no Spark session."""

from conf.errors import UsageError
from conf.settings import Settings
from lake import row_writer
from lake.label_hierarchy import Hierarchy
from lake.locks import commit_lease
from lake.table import Table
from organize.wanted import overview

_COLUMNS = ("label", "parent", "display_name")


def place(settings: Settings, label: str, parent: str | None) -> bool:
    """Place a label below another, or at the top; False if it is there already.

    Args:
        label, parent: slugs; the parent need not have pictures. None for the top.

    Raises:
        UsageError: labels.csv lists the label, or the parent is the label or lies below it.
        StorageError: the lake cannot be read or written.
    """
    with commit_lease.held_alone(settings, Table.LABELS):  # an ingestion writes the whole table anew
        return _place(settings, label, parent)


def _place(settings: Settings, label: str, parent: str | None) -> bool:
    rows = {row["label"]: row for row in row_writer.read(settings, Table.LABELS, _COLUMNS)}
    hierarchy = overview.hierarchy_of(settings, rows)
    if label in Hierarchy.read(settings.labels.file).labels:
        raise UsageError(f"label {label!r} is listed in {settings.labels.file}: change its parent there")
    if parent is not None and parent in hierarchy.expand([label]):
        raise UsageError(f"--under {parent}: it is {label} or lies below it")
    if label in rows and rows[label]["parent"] == parent:
        return False
    if label in rows:
        row_writer.update(settings, Table.LABELS, "label", {"label": label, "parent": parent})
    else:
        row = {"label": label, "parent": parent, "display_name": label, "accepted": 0, "ready": False}
        row_writer.append(settings, Table.LABELS, row)
    return True
