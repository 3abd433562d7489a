"""Files of decisions: CSV of image_id and decision, label or both, as `hub review` writes it."""

import csv
import io
from collections.abc import Mapping

from lake.errors import BadLabel
from lake.label_hierarchy import Hierarchy
from lake.label_slug import label_slug
from organize.errors import BadDecision
from organize.review.decisions import Kind, Wish

IMAGE, DECISION, LABEL, SUGGESTED = "image_id", "decision", "label", "suggested_label"
ACCEPT = "accept"  # of the suggested label
WORDS = (ACCEPT, *(kind.value for kind in Kind))


def read(content: bytes, hierarchy: Hierarchy, closed: bool) -> list[Wish]:
    """Read a file of decisions; lines with an empty decision are skipped.

    A decision is `keep`, `none_of_these`, `undo`, `accept` (the suggested label becomes the label), `relabel`
    (to the label in the column `label`) or the new label itself. Without a column `decision`, the column
    `label` has the new label.

    Args:
        content: UTF-8, with or without a byte order mark.
        hierarchy: for aliases, and the labels that are accepted.
        closed: whether only labels of the hierarchy are accepted.

    Raises:
        BadDecision: the first line that cannot be read, with its number.
    """
    try:
        table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        names = set(table.fieldnames or ())
        if IMAGE not in names or not names & {DECISION, LABEL}:
            raise BadDecision(
                f"its first line must name {IMAGE} and {DECISION} or {LABEL}; it names "
                f"{', '.join(name for name in table.fieldnames or () if name) or 'nothing'}"
            )
        wishes = [_wish(row, table.line_num, names, hierarchy, closed) for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadDecision(f"it is no CSV in UTF-8: {error}") from None
    return [wish for wish in wishes if wish is not None]


def _wish(
    row: Mapping[str, str | None], line: int, names: set[str], hierarchy: Hierarchy, closed: bool
) -> Wish | None:
    image_id = (row[IMAGE] or "").strip()
    decision = (row.get(DECISION) or "").strip()
    if DECISION not in names:
        decision = Kind.RELABEL.value
    if not decision:
        return None
    if not image_id:
        raise BadDecision(f"line {line}: no {IMAGE}")
    word = decision.lower().replace(" ", "_")
    if word in (Kind.KEEP, Kind.NONE_OF_THESE, Kind.UNDO):
        return Wish(image_id, Kind(word))
    name = {Kind.RELABEL.value: row.get(LABEL), ACCEPT: row.get(SUGGESTED)}.get(word, decision)
    if not (name or "").strip():
        column = SUGGESTED if word == ACCEPT else LABEL
        raise BadDecision(f"line {line}: {decision!r} needs a label in the column {column}")
    try:
        label = hierarchy.resolve(label_slug(name or ""))
    except BadLabel as error:
        raise BadDecision(f"line {line}: {error}; a decision is {', '.join(WORDS)} or a label") from None
    if closed and label not in hierarchy.labels:
        raise BadDecision(
            f"line {line}: {name!r}, slug {label}, is not in the list of labels (labels.mode is closed)"
        )
    return Wish(image_id, Kind.RELABEL, label)
