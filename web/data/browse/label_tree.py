"""All labels as a tree, with their pictures and what they lack for a training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lake.label_hierarchy import Hierarchy
from lake.schemas import USABLE
from web.data.mirror import Mirror
from web.data.versioned import kept_by_version


@dataclass(frozen=True)
class LabelNode:
    """A label in the tree.

    Args:
        label: slug.
        name: that people see.
        depth: 0 at the top.
        accepted: uploads with this label.
        images: samples with this label that datasets may contain.
        below: likewise, of this label and all labels below it.
        train, validation, test: of `images`, those in each split.
        doubtful: of `images`, those for which the label check suggests another label.
        wanted: images from which on it can be trained on.
        children: whether labels lie below it.
    """

    label: str
    name: str
    depth: int = 0
    accepted: int = 0
    images: int = 0
    below: int = 0
    train: int = 0
    validation: int = 0
    test: int = 0
    doubtful: int = 0
    wanted: int = 0
    children: bool = False

    @property
    def ready(self) -> bool:
        """Whether it has enough images."""
        return self.images >= self.wanted

    @property
    def missing(self) -> int:
        """Images that it lacks."""
        return max(0, self.wanted - self.images)

    @property
    def share(self) -> float:
        """How far it is on its way to ready, 0 to 1."""
        return min(1.0, self.images / self.wanted) if self.wanted else 1.0

    @property
    def group(self) -> bool:
        """Whether it only groups the labels below it, and has no pictures itself."""
        return self.children and not self.images


_COUNTS = f"""SELECT label, count(*) AS images, count(suggested_label) AS doubtful,
    count(*) FILTER (split = 'train') AS train, count(*) FILTER (split = 'validation') AS validation,
    count(*) FILTER (split = 'test') AS test
    FROM samples WHERE label IS NOT NULL AND {USABLE.replace("array_contains", "list_contains")}
    GROUP BY label"""


def tree(mirror: Mirror, hierarchy: Hierarchy, wanted: int) -> list[LabelNode]:
    """All labels that have pictures, and those above them, each after the one that it lies below.

    Args:
        wanted: images that a label needs.
    """
    named = _named(mirror)
    counted = _counted(mirror)
    known = hierarchy.with_parents({label: row["parent"] for label, row in named.items()})
    nodes: dict[str, LabelNode] = {}
    parents: dict[str, str | None] = {}
    for label in sorted({*(name for name, row in named.items() if row["accepted"]), *counted}):
        for each in (label, *known.ancestors(label)):
            row = {name: value for name, value in counted.get(each, {}).items() if name != "label"}
            listed = known.labels.get(each)
            name = named.get(each, {}).get("display_name") or (listed.display_name if listed else each)
            accepted = named.get(each, {}).get("accepted") or 0
            nodes[each] = LabelNode(each, name, accepted=accepted, wanted=wanted, **row)
            parents[each] = listed.parent if listed else None
    return list(_walk(nodes, parents))


@kept_by_version
def _named(mirror: Mirror) -> dict[str, dict[str, Any]]:
    rows = mirror.rows("SELECT label, parent, display_name, accepted FROM labels")
    return {row["label"]: row for row in rows}


@kept_by_version
def _counted(mirror: Mirror) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in mirror.rows(_COUNTS)}


def _walk(nodes: Mapping[str, LabelNode], parents: Mapping[str, str | None]) -> Iterator[LabelNode]:
    below: dict[str | None, list[str]] = {}
    for label in sorted(nodes, key=lambda each: nodes[each].name.casefold()):
        parent = parents[label]
        below.setdefault(parent if parent in nodes else None, []).append(label)
    seen: set[str] = set()

    def down(label: str, depth: int) -> list[LabelNode]:
        if label in seen:  # labels that lie below each other
            return []
        seen.add(label)
        children = [node for child in below.get(label, ()) for node in down(child, depth + 1)]
        total = nodes[label].images + sum(node.images for node in children)
        return [replace(nodes[label], depth=depth, below=total, children=bool(children)), *children]

    for top in (*below.get(None, ()), *nodes):
        yield from down(top, 0)
