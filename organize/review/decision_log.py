"""The tables `decisions` and `samples` after people decided about labels. Needs no Spark session.

The log is written first and is the truth: what a killed command left undone, the next one applies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from conf.settings import Settings
from lake import row_writer
from lake.label_hierarchy import Hierarchy
from lake.locks import commit_lease
from lake.row_writer import literal
from lake.table import Table
from organize.errors import BadDecision
from organize.review import decisions
from organize.review.decisions import Decision, Kind, Source, State, Wish

_SAMPLE = ("image_id", "label", "label_source", "flags")
_DECISION = (
    "decision_id", "kind", "image_id", "label_before", "label_after", "source_before", "source_after",
    "excluded_before", "excluded_after", "user", "decided",
)  # fmt: skip
_ARRIVAL = ("event_time", "topic", "partition", "offset")


@dataclass(frozen=True)
class Decided:
    """The result of taking decisions.

    Args:
        decision_id: of the rows, for an undo; None if nothing changed.
        decisions: that were recorded.
        unchanged: number of wishes that the samples met already.
        repaired: number of samples to which an earlier, interrupted command's decisions were applied.
    """

    decision_id: str | None
    decisions: tuple[Decision, ...]
    unchanged: int
    repaired: int


def decide(settings: Settings, wishes: Sequence[Wish], user: str) -> Decided:
    """Record decisions and update the samples, all or nothing.

    Taking the same decisions again changes nothing, also after an interruption.

    Raises:
        BadDecision: a wish cannot be met; nothing was changed.
        StorageError: the lake cannot be read or written.
    """
    history = row_writer.read(settings, Table.DECISIONS, _DECISION)
    newest = decisions.newest_by_image(history)
    repaired = _apply(settings, newest.values())
    states = _states(settings, [wish.image_id for wish in wishes])
    made = decisions.decide(wishes, states, newest, user)
    if made:
        # Later than all before it, even if the clock was set back: the newest decision counts.
        last = max((row["decided"] for row in history), default=datetime.min.replace(tzinfo=UTC))
        decided = max(datetime.now(UTC), last + timedelta(microseconds=1))
        rows = [decision.row() | {"user": user, "decided": decided} for decision in made]
        with commit_lease.held(settings, Table.DECISIONS):
            row_writer.append(settings, Table.DECISIONS, *rows)
        _settle(settings, [decision.image_id for decision in made])
    unchanged = len({wish.image_id for wish in wishes}) - len(made)
    return Decided(made[0].decision_id if made else None, tuple(made), unchanged, repaired)


def known_labels(settings: Settings) -> set[str]:
    """Slugs of all labels that somebody used, and of those in labels.csv."""
    found = set(Hierarchy.read(settings.labels.file).labels)
    for table in (Table.LABELS, Table.SAMPLES):
        rows = row_writer.query(settings, table, "SELECT DISTINCT label FROM rows")
        found |= {row["label"] for row in rows if row["label"]}
    return found


def _settle(settings: Settings, image_ids: Sequence[str]) -> None:
    """Give samples the state of their newest decision, whoever took it.

    No lock is needed: somebody else may decide about the same images in this moment, and update samples
    before or after this process. Whoever updates looks at the log again, so the newest decision stays.
    """
    where = f"image_id IN ({literal(*image_ids)})"
    while True:
        history = row_writer.read(settings, Table.DECISIONS, _DECISION, where)
        if not _apply(settings, decisions.newest_by_image(history).values()):
            return


def undo(settings: Settings, decision_id: str, user: str) -> Decided:
    """Undo all decisions that were taken together.

    Raises:
        BadDecision: no decision has this id, or a newer one is about one of its images.
        StorageError: the lake cannot be read or written.
    """
    rows = row_writer.read(settings, Table.DECISIONS, _DECISION)
    images = [row["image_id"] for row in rows if row["decision_id"] == decision_id]
    newest = decisions.newest_by_image(rows)
    if not images:
        known = list(dict.fromkeys(row["decision_id"] for row in sorted(rows, key=_time)))[-3:]
        hint = f"the newest are {', '.join(known)}" if known else "there is none yet"
        raise BadDecision(f"no decision {decision_id!r}: {hint}")
    for image_id in images:
        if newest[image_id].decision_id != decision_id:
            raise BadDecision(
                f"image {image_id} was decided again in {newest[image_id].decision_id}: undo that first; "
                "nothing was changed"
            )
    return decide(settings, [Wish(image_id, Kind.UNDO) for image_id in images], user)


def _time(row: dict[str, Any]) -> Any:
    return row["decided"]


def _apply(settings: Settings, newest: Iterable[Decision]) -> int:
    """Update the samples that lack the state of their decision; returns their number."""
    wanted = {decision.image_id: decision for decision in newest}
    samples = {
        image_id: row
        for image_id, row in _samples(settings, list(wanted)).items()
        if not decisions.is_applied(wanted[image_id], State.of_sample(row))
    }
    claimed = [each for each in samples if wanted[each].after.source is Source.CLAIMED]
    own = claims(settings, claimed)
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}  # by the columns that change
    for image_id, sample in samples.items():
        values = decisions.sample_values(wanted[image_id].after, sample, own.get(image_id))
        rows.setdefault(tuple(values), []).append({"image_id": image_id} | values)
    for same_columns in rows.values():
        with commit_lease.held(settings, Table.SAMPLES):
            row_writer.update(settings, Table.SAMPLES, "image_id", *same_columns)
    return len(samples)


def _states(settings: Settings, image_ids: Sequence[str]) -> dict[str, State]:
    return {image_id: State.of_sample(row) for image_id, row in _samples(settings, image_ids).items()}


def _samples(settings: Settings, image_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not image_ids:
        return {}
    where = f"image_id IN ({literal(*image_ids)})"
    return {row["image_id"]: row for row in row_writer.read(settings, Table.SAMPLES, _SAMPLE, where)}


def claims(settings: Settings, image_ids: Sequence[str]) -> dict[str, list[str]]:
    """The labels of the accepted uploads of images, in order of arrival."""
    if not image_ids:
        return {}
    where = f"verdict = 'accepted' AND image_id IN ({literal(*image_ids)})"
    found = row_writer.read(settings, Table.UPLOADS, ("image_id", "label", *_ARRIVAL), where)
    labels: dict[str, list[str]] = {}
    for row in sorted(found, key=lambda row: tuple(row[name] for name in _ARRIVAL)):
        labels.setdefault(row["image_id"], []).append(row["label"])
    return labels
