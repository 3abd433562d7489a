"""`hub ingest`: verify, prepare and store what is in Kafka."""

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from jobs.cli.command import Command, Outcome, quiet, run, say

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from streaming.ingestion import IngestReport


@click.command(cls=Command, name="ingest", example="hub ingest --once")
@click.option("--once", is_flag=True, help="Take what is there now, then stop.")
@click.option(
    "--accept-loss", is_flag=True,
    help="Go on after records that retention removed before they were taken; they are listed.",
)  # fmt: skip
def main(once: bool, accept_loss: bool) -> Outcome:
    """Take uploads from Kafka into the tables; without --once until Ctrl-C.

    One ingestion runs on a lake at a time. On a terminal a line shows records, rate, lag (what the topic
    holds and the ledger does not, and the age of the oldest record of it), accepted, and rejected by
    reason. Spark's own progress goes to progress.jsonl in the folder of logs; HUB__METRICS__PORT serves
    Prometheus.
    """
    from conf import settings as configuration
    from local import broker

    settings = configuration.load()
    report = ingest(settings, broker.address(settings), once, accept_loss=accept_loss)
    return results(report), summary(report), 0


def ingest(
    settings: "Settings",
    bootstrap: str,
    once: bool,
    spark: "SparkSession | None" = None,
    accept_loss: bool = False,
) -> "IngestReport":
    """Run the streaming queries, with a line that shows what has been done.

    Args:
        spark: a session to run on; one is made, and stopped, where there is none.
        accept_loss: go on where retention removed records before they were taken.
    """
    from jobs.cli import live_line
    from lake.spark import session
    from streaming import topics
    from streaming.ingestion import Ingestion
    from streaming.ledger import lake_lease
    from streaming.watch.ingest_report import IngestReport

    topics.describe(settings.kafka, bootstrap)  # a broker that is away is told before Spark starts
    lake_lease.refuse_if_held(settings)
    warn(settings, bootstrap)
    say(f"Taking uploads from {settings.kafka.topic} at {bootstrap}; the first batch takes some seconds.")
    running = spark or session.start(settings, "ingest")
    report = IngestReport()
    try:
        ingestion = Ingestion(running, settings, bootstrap, accept_loss=accept_loss)
        with live_line.shown(report, quiet()):
            if once:
                ingestion.once(report)
            else:
                ingestion.forever(report)
    except KeyboardInterrupt:
        if once:
            raise
        say("Stopped; the next ingest goes on where this one ended.")
    finally:
        if spark is None:
            running.stop()
    return report


def warn(settings: "Settings", bootstrap: str) -> None:
    """Say so where a stranger could stop the ingestion from this topic."""
    from streaming import topics
    from streaming.errors import StreamingError

    with suppress(StreamingError):  # who may read a topic need not be allowed to see its settings
        lacking = topics.unguarded(settings.kafka, bootstrap).get(settings.kafka.topic, [])
        if lacking:
            given = " and ".join(f"{key}={topics.GUARDS[key]}" for key in lacking)
            say(
                f"Warning: topic {settings.kafka.topic} has not {given}, so one hostile record can stop "
                "ingestion: run `hub up`, which sets it."
            )


def results(report: "IngestReport") -> dict[str, object]:
    """The report as JSON."""
    return vars(report) | {"images_per_second": report.images_per_second}


def summary(report: "IngestReport") -> str:
    """The report for a person."""
    from jobs.cli.text_table import table

    lines = [_lost(report)] if report.lost else []
    lines += [
        f"{report.records:,} records in {report.batches} batches: {report.accepted:,} accepted, "
        f"{sum(report.rejected.values()):,} rejected; {report.images_per_second:,.0f} images/s "
        f"to the ledger, {report.seconds:.1f} s with samples, labels and dead letters"
    ]
    if report.rejected:
        lines.append(table(["rejected for", "uploads"], report.most_rejected()))
    return "\n".join(lines)


def _lost(report: "IngestReport") -> str:
    total = sum(last - first + 1 for first, last in report.lost.values())
    where = ", ".join(f"partition {p} offsets {a:,} to {b:,}" for p, (a, b) in sorted(report.lost.items()))
    return (
        f"lost for good, because retention removed them before they were taken: {total:,} records ({where})"
    )


if __name__ == "__main__":
    run(main)
