"""`hub ingest`: verify, prepare and store the uploads in Kafka, with Spark Structured Streaming."""

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from jobs.cli.command import Command, Outcome, quiet, run, say

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from streaming.ingestion import IngestReport


@click.command(cls=Command, name="ingest", example="hub ingest --once")
@click.option("--once", is_flag=True, help="Ingest what is in the topic now, then stop.")
@click.option(
    "--accept-loss", is_flag=True,
    help="Continue although retention deleted records before they were ingested; list their offsets.",
)  # fmt: skip
def main(once: bool, accept_loss: bool) -> Outcome:
    """Ingest uploads from Kafka into the tables, until Ctrl-C or with --once until the end of the topic.

    Only one ingestion runs on a lake at a time. On a terminal a live line shows records, rate, lag (records
    not in the ledger yet, and the age of the oldest), accepted uploads, and rejected uploads by reason.
    Erasures that people ask for on a page are carried out in between.
    Spark's progress of each micro-batch is logged to progress.jsonl in the log folder; HUB__METRICS__PORT
    serves Prometheus metrics.
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
    """Run the streaming queries and show their progress.

    Args:
        spark: the session to run on; if None, one is started and stopped.
        accept_loss: continue although retention deleted records before they were ingested.
    """
    from jobs.cli import live_line
    from lake.spark import session
    from streaming import erasure_service, topics
    from streaming.ingestion import Ingestion
    from streaming.ledger import lake_lease
    from streaming.watch.ingest_report import IngestReport

    topics.describe(settings.kafka, bootstrap)  # report an unreachable broker before Spark starts
    lake_lease.refuse_if_held(settings)
    warn_if_unprotected(settings, bootstrap)
    say(f"Ingesting {settings.kafka.topic} at {bootstrap}; the first micro-batch takes some seconds.")
    running = spark or session.start(settings, "ingest")
    report = IngestReport()
    try:
        ingestion = Ingestion(running, settings, bootstrap, accept_loss=accept_loss)
        with live_line.show_progress(report, quiet()):
            if once:
                ingestion.once(report)
            else:
                erasure_service.ingest_and_erase(ingestion, report, lambda step: say(f"{step} …"))
    except KeyboardInterrupt:
        if once:
            raise
        say("Stopped; the next ingest resumes where this one stopped.")
    finally:
        if spark is None:
            running.stop()
    return report


def warn_if_unprotected(settings: "Settings", bootstrap: str) -> None:
    """Warn if the topic lacks a setting without which a hostile record could stop the ingestion."""
    from streaming import topics
    from streaming.errors import StreamingError

    with suppress(StreamingError):  # this login may read the topic but not its settings
        missing = topics.missing_settings(settings.kafka, bootstrap).get(settings.kafka.topic, [])
        if missing:
            configs = " and ".join(f"{key}={topics.REQUIRED_CONFIG[key]}" for key in missing)
            say(
                f"Warning: topic {settings.kafka.topic} lacks {configs}, so one hostile record can stop "
                "ingestion: run `hub up`, which sets it."
            )


def results(report: "IngestReport") -> dict[str, object]:
    """The report for --json."""
    return vars(report) | {"images_per_second": report.images_per_second}


def summary(report: "IngestReport") -> str:
    """The report as text."""
    from jobs.cli.text_table import format_table

    lines = [_lost(report)] if report.lost else []
    lines += [
        f"{report.records:,} records in {report.batches} batches: {report.accepted:,} accepted, "
        f"{sum(report.rejected.values()):,} rejected; {report.images_per_second:,.0f} images/s "
        f"to the ledger, {report.seconds:.1f} s with samples, labels and dead letters"
    ]
    if report.rejected:
        lines.append(format_table(["rejected for", "uploads"], report.top_reasons()))
    return "\n".join(lines)


def _lost(report: "IngestReport") -> str:
    total = sum(last - first + 1 for first, last in report.lost.values())
    where = ", ".join(f"partition {p} offsets {a:,} to {b:,}" for p, (a, b) in sorted(report.lost.items()))
    return (
        f"lost, because retention deleted them before they were ingested: up to {total:,} records ({where})"
    )


if __name__ == "__main__":
    run(main)
