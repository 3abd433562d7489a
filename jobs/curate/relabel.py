"""`hub relabel`: take people's decisions about labels, or undo them."""

import getpass
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run

if TYPE_CHECKING:
    from conf.settings import Settings
    from organize.review.decision_log import Decided


@click.command(cls=Command, name="relabel", example="hub relabel decisions.csv --user ann")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--user", help="Who decides. Default: the name of this machine's user.")
@click.option("--undo", "decision_id", metavar="ID", help="Undo all decisions of a file, by the id it got.")
def main(file: Path | None, user: str | None, decision_id: str | None) -> Outcome:
    """Take decisions about labels from a CSV, all of them or none.

    Columns: image_id, and decision, label or both. A decision is keep, none_of_these, undo, accept (the label
    in suggested_label), relabel (to the label in label), or the new label itself; a line without one is
    skipped. Without a column decision, label has the new label. Each decision is recorded in the table
    `decisions`. The next `hub organize` follows them.
    """
    from conf import settings as configuration
    from lake.locks import organize_lock
    from organize.review import decision_log
    from organize.review.decisions import Kind

    if (file is None) == (decision_id is None):
        raise UsageError("give a FILE of decisions, or --undo ID")
    settings = configuration.load()
    who = getpass.getuser() if user is None else user.strip()
    if not who:
        raise UsageError("--user is empty: give the name of who decides")
    with organize_lock.held(settings, "relabel"):  # an erasure deletes files of unfinished commits
        if decision_id is not None:
            decided, new = decision_log.undo(settings, decision_id, who), Counter[str]()
        else:
            known = decision_log.known_labels(settings)
            decided = _take(settings, file or Path(), who)
            relabelled = [each.after.label for each in decided.decisions if each.kind is Kind.RELABEL]
            new = Counter(label for label in relabelled if label is not None and label not in known)
    return _results(decided, who) | {"new_labels": dict(new)}, _text(decided, new), 0


def _take(settings: "Settings", file: Path, user: str) -> "Decided":
    from lake.label_hierarchy import Hierarchy
    from organize.errors import BadDecision
    from organize.review import decision_file, decision_log

    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from None
    hierarchy = Hierarchy.read(settings.labels.file)
    try:
        wishes = decision_file.read(content, hierarchy, settings.labels.mode == "closed")
    except BadDecision as error:
        raise BadDecision(f"{file}: {error}") from None
    return decision_log.decide(settings, wishes, user)


def _results(decided: "Decided", user: str) -> dict[str, object]:
    counts = Counter(decision.kind.value for decision in decided.decisions)
    return {
        "decision_id": decided.decision_id,
        "decided": len(decided.decisions),
        "kinds": dict(counts),
        "unchanged": decided.unchanged,
        "repaired": decided.repaired,
        "user": user,
    }


def _text(decided: "Decided", new: Counter[str]) -> str:
    counts = Counter(decision.kind.value for decision in decided.decisions)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())
    lines = [f"{len(decided.decisions):,} decisions{f': {kinds}' if kinds else ''}"]
    if decided.unchanged:
        lines.append(f"{decided.unchanged:,} were decided so before")
    if decided.repaired:
        lines.append(f"{decided.repaired:,} samples got the decisions of an earlier, interrupted command")
    if new:  # a word that is no decision is a label, and a slip of the pen, too
        named = ", ".join(f"{label} ({count:,})" for label, count in new.most_common())
        lines.append(f"labels that there were not before: {named}")
    if decided.decision_id:
        lines.append(f"to undo them: hub relabel --undo {decided.decision_id}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
