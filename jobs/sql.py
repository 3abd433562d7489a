"""`hub sql`: query the tables with Spark SQL."""

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
@click.option("--format", "output_format", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--limit", type=click.IntRange(min=1), default=10_000, help="Maximum number of rows.")
def main(statement: str, output_format: str, limit: int) -> Outcome:
    """Query the views uploads, samples, labels, batches, devices, datasets and models.

    A binary column is shown as its size. Select other columns only, and no pixels are read.
    """
    from conf import settings as configuration
    from lake import views
    from lake.spark import session

    if not statement.strip():
        raise UsageError('the statement is empty: give one, such as "SELECT count(*) FROM samples"')
    settings = configuration.load()
    spark = session.start(settings, "sql")
    try:
        views.register(spark, settings.lake)
        answer = views.query(spark, statement, limit)
    finally:
        spark.stop()
    if answer.truncated:
        click.echo(f"only the first {limit:,} rows are shown; ask for more with --limit", err=True)
    return answer.rows, format_rows(answer.columns, answer.rows, output_format), 0


def format_rows(columns: list[str], rows: list[dict[str, Any]], output_format: str) -> str:
    """Format rows as a table, CSV or JSON."""
    from jobs.cli.text_table import format_table

    if output_format == "json":
        return json.dumps(rows, default=str, ensure_ascii=False)
    if output_format == "table":
        return format_table(columns, [[row[name] for name in columns] for row in rows])
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().rstrip("\n")


if __name__ == "__main__":
    run(main)
