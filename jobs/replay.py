"""`hub replay`: send rejected uploads to Kafka again, after a setting was changed."""

from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs import push
from jobs.cli.command import Command, Outcome, quiet, run, say
from jobs.cli.reject_filters import flags, selection

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from streaming.rejects import Replay
    from streaming.upload.push_report import PushReport


@click.command(cls=Command, name="replay", example="hub replay --reason too_small --since 7d --dry-run")
@click.argument("positions", nargs=-1, metavar="[POSITION]…")
@flags
@click.option("--limit", type=click.IntRange(min=1), help="So many at most, the newest ones.")
@click.option("--all", "everything", is_flag=True, help="All rejected uploads.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent and send nothing.")
def main(
    positions: tuple[str, ...], reasons: tuple[str, ...], batches: tuple[str, ...], devices: tuple[str, ...],
    since: str | None, limit: int | None, everything: bool, dry_run: bool,
) -> Outcome:  # fmt: skip
    """Send rejected uploads to Kafka again, each as it came, for the next ingest to judge anew.

    POSITION is topic/partition/offset as `hub rejects` lists it. Value and headers are those of the phone,
    with hub_replay_of added; the key is its device. An upload is accepted once at most: replayed twice it
    is a duplicate_upload. Those rejected as duplicate_upload are left out.
    """
    from conf import settings as configuration
    from lake.spark import session
    from local import broker
    from streaming import rejects, topics

    chosen = selection(reasons, batches, devices, since, positions, limit)
    if not (positions or reasons or batches or devices or since or everything):
        raise UsageError("say which: --reason, --batch, --device, --since, positions, or --all")
    settings = configuration.load()
    bootstrap = "" if dry_run else broker.address(settings)
    if not dry_run:
        topics.describe(settings.kafka, bootstrap)  # a broker that is away is told before Spark starts
    spark = session.start(settings, "replay")
    try:
        planned = rejects.replay_of(spark, settings.lake, chosen)
        sent = None if dry_run else replay(spark, settings, bootstrap, planned)
    finally:
        spark.stop()
    return results(planned, sent), summary(planned, sent), push.status(sent) if sent else 0


def replay(spark: "SparkSession", settings: "Settings", bootstrap: str, planned: "Replay") -> "PushReport":
    """Send what is planned.

    Raises:
        BrokerUnreachable: no broker answers at the address.
    """
    from tqdm import tqdm

    from streaming import rejects
    from streaming.upload import producer

    say(f"Sending {len(planned.chosen):,} rejected uploads to {settings.kafka.topic} at {bootstrap} again.")
    with tqdm(unit=" uploads", desc="replay", disable=quiet() or None, dynamic_ncols=True) as bar:

        def show(report: "PushReport") -> None:
            bar.update(report.acknowledged - bar.n)

        records = rejects.records(spark, settings.lake, planned)
        return producer.push(settings.kafka, settings.push, bootstrap, records, None, show)


def results(planned: "Replay", sent: "PushReport | None") -> dict[str, object]:
    """What was sent, as JSON."""
    from streaming.rejects import written

    return {
        "chosen": len(planned.chosen),
        "reasons": planned.counts,
        "duplicates_left_out": planned.duplicates,
        "positions": [written(at) for at in planned.chosen],
        "dry_run": sent is None,
        "sent": sent.sent if sent else 0,
        "acknowledged": sent.acknowledged if sent else 0,
        "failed": sent.failed if sent else 0,
        "first_error": sent.first_error if sent else None,
    }


def summary(planned: "Replay", sent: "PushReport | None") -> str:
    """What was sent, for a person."""
    of = ", ".join(f"{reason} {count:,}" for reason, count in planned.counts.items())
    lines = [f"{len(planned.chosen):,} would be sent ({of}); nothing was"]
    if sent is not None:
        lines = [
            f"{sent.acknowledged:,} sent again, {sent.failed:,} failed ({of}); `hub ingest` judges them anew"
        ]
        if sent.first_error:
            lines.append(f"first failure: {sent.first_error}")
    if planned.duplicates:
        lines.append(
            f"{planned.duplicates:,} duplicate_upload left out: their ids were accepted before and would be "
            "refused again"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
