"""The table `watches`: who waits for pictures of a label. Needs no Spark session."""

from collections.abc import Mapping
from datetime import UTC, datetime

from conf.settings import Settings
from lake import row_writer
from lake.locks import commit_lease
from lake.row_writer import literal
from lake.table import Table


def watch(settings: Settings, label: str, user: str) -> bool:
    """Let a user wait for a label; False if the user did already.

    Args:
        label: slug; it need not have pictures yet.
    """
    if row_writer.read(settings, Table.WATCHES, ("label",), _where(label, user)):
        return False
    row = {"label": label, "user": user, "since": datetime.now(UTC)}
    with commit_lease.held(settings, Table.WATCHES):
        row_writer.append(settings, Table.WATCHES, row)
    return True


def unwatch(settings: Settings, label: str, user: str) -> bool:
    """Let a user no longer wait for a label; False if the user did not."""
    with commit_lease.held(settings, Table.WATCHES):
        return row_writer.delete(settings, Table.WATCHES, _where(label, user)) > 0


def watchers(settings: Settings) -> Mapping[str, list[str]]:
    """Watched label to the users who wait for it, first to last."""
    rows = row_writer.read(settings, Table.WATCHES, ("label", "user", "since"))
    found: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row["since"]):
        users = found.setdefault(row["label"], [])
        if row["user"] not in users:  # two commands at once may have written two rows
            users.append(row["user"])
    return found


def _where(label: str, user: str) -> str:
    return f'label = {literal(label)} AND "user" = {literal(user)}'
