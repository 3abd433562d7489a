"""Labels that a person may choose: those of labels.csv, and those that uploads have."""

from dataclasses import dataclass

from lake.label_hierarchy import Hierarchy
from web.data.mirror import Mirror

_SUGGESTIONS = 500


@dataclass(frozen=True)
class Suggestion:
    """A label to choose: the name that people see, and its parent's name."""

    name: str
    parent: str | None


def suggestions(mirror: Mirror, hierarchy: Hierarchy, closed: bool) -> list[Suggestion]:
    """Labels by name; in closed mode those of the file only.

    A label that has others below it is a group of labels, and not suggested.
    """
    parents = {label.parent for label in hierarchy.labels.values()}
    found = {
        label.name: Suggestion(label.display_name, _name(hierarchy, label.parent))
        for label in hierarchy.labels.values()
        if label.name not in parents
    }
    if not closed:
        rows = mirror.rows(
            """SELECT label, coalesce(display_name, replace(label, '_', ' ')) AS name, parent FROM labels
            WHERE accepted > 0 ORDER BY accepted DESC, label LIMIT ?""",
            [_SUGGESTIONS],
        )
        for row in rows:
            if row["label"] not in parents:
                found.setdefault(row["label"], Suggestion(row["name"], _name(hierarchy, row["parent"])))
    return sorted(found.values(), key=lambda each: each.name.casefold())[:_SUGGESTIONS]


def _name(hierarchy: Hierarchy, label: str | None) -> str | None:
    known = hierarchy.labels.get(label) if label else None
    return known.display_name if known else label
