"""`hub ingest`: verify, prepare and store what is in Kafka."""

from typing import TYPE_CHECKING

import click

from jobs.command import Command, Outcome, quiet, run, say

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from streaming.query import IngestReport


@click.command(cls=Command, name="ingest", example="hub ingest --once")
@click.option("--once", is_flag=True, help="Take what is there now, then stop.")
def main(once: bool) -> Outcome:
    """Take uploads from Kafka into the tables; without --once until Ctrl-C."""
    from conf import settings as configuration
    from local import broker

    settings = configuration.load()
    report = ingest(settings, broker.address(settings), once)
    return results(report), summary(report), 0


def ingest(
    settings: "Settings", bootstrap: str, once: bool, spark: "SparkSession | None" = None
) -> "IngestReport":
    """Run the streaming queries, with a line that shows what has been done.

    Args:
        spark: a session to run on; one is made, and stopped, where there is none.
    """
    from tqdm import tqdm

    from lake import session
    from streaming import topics
    from streaming.ledger import BatchCounts
    from streaming.query import Ingestion, IngestReport

    topics.describe(settings.kafka, bootstrap)  # a broker that is away is told before Spark starts
    say(f"Taking uploads from {settings.kafka.topic} at {bootstrap}; the first batch takes some seconds.")
    running = spark or session.start(settings, "ingest")
    report = IngestReport()
    bar = tqdm(unit=" records", desc="ingest", disable=quiet() or None, dynamic_ncols=True)

    def show(counts: BatchCounts) -> None:
        bar.set_postfix(accepted=f"{report.accepted:,}", rejected=f"{sum(report.rejected.values()):,}")
        bar.update(counts.records)

    try:
        ingestion = Ingestion(running, settings, bootstrap, show)
        if once:
            ingestion.once(report)
        else:
            ingestion.forever(report)
    except KeyboardInterrupt:
        if once:
            raise
        say("Stopped; the next ingest goes on where this one ended.")
    finally:
        bar.close()
        if spark is None:
            running.stop()
    return report


def results(report: "IngestReport") -> dict[str, object]:
    """The report as JSON."""
    return vars(report) | {"images_per_second": report.images_per_second}


def summary(report: "IngestReport") -> str:
    """The report for a person."""
    from jobs.terminal import table

    lines = [
        f"{report.records:,} records in {report.batches} batches: {report.accepted:,} accepted, "
        f"{sum(report.rejected.values()):,} rejected; {report.images_per_second:,.0f} images/s "
        f"to the ledger, {report.seconds:.1f} s with samples, labels and dead letters"
    ]
    if report.rejected:
        most_first = sorted(report.rejected.items(), key=lambda item: (-item[1], item[0]))
        lines.append(table(["rejected for", "uploads"], most_first))
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
