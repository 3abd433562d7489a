"""`hub sql`: query the tables with Spark SQL."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, quiet, run
from lake.sql.statements import Statement, split_all

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from lake.views import QueryResult

EXAMPLE = 'hub sql "SELECT label, count(*) FROM samples GROUP BY label"'
_HISTORY = "sql_history"  # in the folder of the logs


@click.command(cls=Command, name="sql", example=EXAMPLE)
@click.argument("statement", required=False)
@click.option("-f", "--file", type=click.Path(), help="Run the statements in a file; - is standard input.")
@click.option("--format", "output_format", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--limit", type=click.IntRange(min=1), default=10_000, help="Maximum number of rows.")
def main(statement: str | None, file: str | None, output_format: str, limit: int) -> Outcome:
    """Query the views uploads, samples, labels, batches, devices, datasets, models, embeddings and others.

    DESCRIBE samples says what each column means, SELECT * FROM columns does it for all views.

    Statements are separated by semicolons. Without one a prompt opens, so that Spark starts only once.

    A binary column is shown as its size; select other columns only, and no pixels are read. Times are in UTC.
    """
    from conf import settings as configuration
    from lake import views
    from lake.spark import session

    statements = _statements(statement, file)
    settings = configuration.load()
    spark = session.start(settings, "sql")
    try:
        views.register(spark, settings.lake)
        runner = _Runner(spark, output_format, limit)
        if statements is None:
            _prompt(runner, settings)
            return {}, "", 0
        return runner.run_all(statements, "" if file is None else f"{file}, line ")
    finally:
        session.stop(spark)


def _statements(statement: str | None, file: str | None) -> list[Statement] | None:
    """The statements of the command line, a file or standard input; None if people type them at a prompt."""
    if statement is not None and file is not None:
        raise UsageError("give a statement or --file, not both")
    if statement is None and file is None and sys.stdin.isatty():
        if quiet():
            raise UsageError("--json needs a statement or --file: a prompt has no JSON")
        return None
    text = statement if statement is not None else _read(file or "-")
    statements = split_all(text)
    if not statements:
        where = "the statement is" if statement is not None else f"{file or 'standard input'} is"
        raise UsageError(f'{where} empty: give one, such as "SELECT count(*) FROM samples"')
    return statements


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--file {file}: this is not a text in UTF-8") from None


class _Runner:
    """Runs statements and prints their rows."""

    def __init__(self, spark: "SparkSession", output_format: str, limit: int) -> None:
        self.spark = spark
        self._format = output_format
        self._limit = limit

    def run_all(self, statements: list[Statement], where: str) -> Outcome:
        """Run statements until one fails; print the rows of each as soon as they are there.

        Args:
            where: text before the line of a wrong statement; empty if there is no file.
        """
        from lake.errors import BadQuery

        results: list[dict[str, Any]] = []
        for number, statement in enumerate(statements):
            try:
                answer = self.run(statement)
            except BadQuery as error:
                raise BadQuery(f"{where}{statement.line}: {error}" if where else str(error)) from None
            results.append({"statement": statement.text, "rows": answer.rows})
            if not quiet():
                click.echo(("\n" if number else "") + self.format(answer))
        return (results if len(statements) > 1 else results[0]["rows"]), "", 0

    def run(self, statement: Statement) -> "QueryResult":
        """Run a statement; say if not all rows are shown."""
        from lake import views

        answer = views.query(self.spark, statement.text, self._limit)
        if answer.truncated:
            text = f"only the first {self._limit:,} rows are shown; ask for more with --limit"
            click.echo(text, err=True)
        return answer

    def format(self, answer: "QueryResult") -> str:
        """Format rows for printing."""
        from streaming.sources.items import encodable

        return encodable(format_rows(answer.columns, answer.rows, self._format))


def _prompt(runner: _Runner, settings: "Settings") -> None:
    from jobs.cli.sql_prompt import SqlPrompt
    from lake import views

    def execute(statement: Statement) -> int:
        answer = runner.run(statement)
        click.echo(runner.format(answer))
        return len(answer.rows)

    prompt = SqlPrompt(views.names(runner.spark), settings.logs.dir / _HISTORY)
    prompt.run(execute, runner.spark.sparkContext.cancelAllJobs)


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
