"""`hub sql`: ask the tables with Spark SQL."""

import csv
import io
import json
from typing import Any

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run

EXAMPLE = 'hub sql "SELECT label, count(*) FROM samples GROUP BY label"'


@click.command(cls=Command, name="sql", example=EXAMPLE)
@click.argument("statement")
@click.option("--format", "shape", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--limit", type=click.IntRange(min=1), default=10_000, help="Rows at most.")
def main(statement: str, shape: str, limit: int) -> Outcome:
    """Ask the views uploads, samples, labels, batches, devices, datasets and models.

    Binary columns are shown by their size; name other columns to leave pixels unread.
    """
    from conf import settings as configuration
    from lake import views
    from lake.spark import session

    if not statement.strip():
        raise UsageError('the statement is empty: give one such as "SELECT count(*) FROM samples"')
    settings = configuration.load()
    spark = session.start(settings, "sql")
    try:
        views.register(spark, settings.lake)
        answer = views.rows(spark, statement, limit)
    finally:
        spark.stop()
    if answer.cut:
        click.echo(f"only the first {limit:,} rows are shown; ask for more with --limit", err=True)
    return answer.rows, rendered(answer.columns, answer.rows, shape), 0


def rendered(columns: list[str], rows: list[dict[str, Any]], shape: str) -> str:
    """Rows as a table, CSV or JSON."""
    from jobs.cli.text_table import table

    if shape == "json":
        return json.dumps(rows, default=str, ensure_ascii=False)
    if shape == "table":
        return table(columns, [[row[name] for name in columns] for row in rows])
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().rstrip("\n")


if __name__ == "__main__":
    run(main)
