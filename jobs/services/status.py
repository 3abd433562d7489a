"""`hub status`: show the broker, topics and tables."""

from pathlib import Path

import click

from conf.sections import Lake
from conf.settings import Settings
from jobs.cli.command import Command, Outcome, run
from lake.table import Table


@click.command(cls=Command, name="status", example="hub status --json")
def main() -> Outcome:
    """Show the broker, topics and tables; the exit status is 1 while the broker is down."""
    from conf import settings as conf

    settings = conf.load()
    results = _broker(settings) | {"lake": settings.lake.root, "tables": _tables(settings.lake)}
    return results, _text(results), 0 if results["up"] else 1


def _broker(settings: Settings) -> dict[str, object]:
    from local import broker
    from local.errors import NoBroker
    from streaming import topics
    from streaming.errors import BrokerUnreachable

    kind = "external" if settings.kafka.bootstrap else "embedded"
    state: dict[str, object] = {"broker": kind, "bootstrap": None, "up": False, "detail": None, "topics": []}
    try:
        state["bootstrap"] = broker.address(settings)
        described = topics.describe(settings.kafka, str(state["bootstrap"]))
    except (NoBroker, BrokerUnreachable) as error:
        return state | {"detail": str(error)}
    rows = [{"topic": t.name, "partitions": len(t.offsets), "records": t.records} for t in described]
    return state | {"up": True, "topics": rows}


def _tables(lake: Lake) -> list[str] | None:
    """The tables that exist; None if the lake is not a local folder."""
    if "://" in lake.root:
        return None
    return [table.value for table in Table if Path(lake.at(table), "_delta_log").is_dir()]


def _text(results: dict[str, object]) -> str:
    state = f"up at {results['bootstrap']}" if results["up"] else f"down: {results['detail']}"
    lines = [f"broker   {results['broker']}, {state}"]
    rows = results["topics"]
    assert isinstance(rows, list)
    lines += [f"topic    {t['topic']}: {t['records']:,} records, {t['partitions']} partitions" for t in rows]
    if results["up"] and not rows:
        lines.append("topic    none yet: run `hub up`")
    tables = results["tables"]
    assert tables is None or isinstance(tables, list)
    known = "not checked (not a local folder)" if tables is None else ", ".join(tables) or "no tables yet"
    return "\n".join([*lines, f"lake     {results['lake']}: {known}"])


if __name__ == "__main__":
    run(main)
