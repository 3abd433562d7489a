"""`hub status`: show the broker, topics and tables."""

from typing import TYPE_CHECKING

import click

from conf.settings import Settings
from jobs.cli.command import Command, Outcome, run
from lake.table import Table

if TYPE_CHECKING:
    from streaming.backlog import TopicCount


@click.command(cls=Command, name="status", example="hub status --json")
def main() -> Outcome:
    """Show the broker, topics and tables; the exit status is 1 while the broker is down.

    Records of a topic are its committed ones. They are counted in up to 256 MB of it; of a larger topic the
    offsets are counted, so the number may include the markers of transactions ("at most").
    """
    from conf import settings as conf

    settings = conf.load()
    results = _broker(settings) | {"lake": settings.lake.root, "tables": _tables(settings)}
    return results, _text(results), 0 if results["up"] else 1


def _broker(settings: Settings) -> dict[str, object]:
    from local import broker
    from local.errors import NoBroker
    from streaming import backlog
    from streaming.errors import BrokerUnreachable

    kind = "external" if settings.kafka.bootstrap else "embedded"
    state: dict[str, object] = {"broker": kind, "bootstrap": None, "up": False, "detail": None, "topics": []}
    try:
        state["bootstrap"] = broker.address(settings)
        counts = backlog.count_records(settings.kafka, str(state["bootstrap"]))
    except (NoBroker, BrokerUnreachable) as error:
        return state | {"detail": str(error)}
    return state | {"up": True, "topics": [_row(count) for count in counts]}


def _row(count: "TopicCount") -> dict[str, object]:
    return {
        "topic": count.topic.name,
        "partitions": len(count.topic.offsets),
        "records": count.records,
        "exact": count.exact,
        "undecided": count.undecided,
    }


def _tables(settings: Settings) -> list[str] | None:
    """The tables that exist; None if the lake cannot be read."""
    from lake.errors import StorageError
    from lake.storage import Storage

    lake = Storage(settings.lake.root, settings.s3)
    try:
        folders = lake.list_folders()
        return [
            table.value
            for table in Table
            if table in folders and "_delta_log" in lake.subfolder(table).list_folders()
        ]
    except (StorageError, OSError):
        return None


def _text(results: dict[str, object]) -> str:
    state = f"up at {results['bootstrap']}" if results["up"] else f"down: {results['detail']}"
    lines = [f"broker   {results['broker']}, {state}"]
    rows = results["topics"]
    assert isinstance(rows, list)
    lines += [f"topic    {_topic_text(row)}" for row in rows]
    if results["up"] and not rows:
        lines.append("topic    none yet: run `hub up`")
    tables = results["tables"]
    assert tables is None or isinstance(tables, list)
    known = "cannot be read" if tables is None else ", ".join(tables) or "no tables yet"
    return "\n".join([*lines, f"lake     {results['lake']}: {known}"])


def _topic_text(row: dict[str, object]) -> str:
    limit = "" if row["exact"] else "at most "
    text = f"{row['topic']}: {limit}{row['records']:,} records, {row['partitions']} partitions"
    if row["undecided"]:
        text += f"; {row['undecided']:,} offsets wait for the end of a transaction"
    return text


if __name__ == "__main__":
    run(main)
