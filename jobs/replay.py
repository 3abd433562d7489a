"""`hub replay`: send rejected uploads to Kafka again, after a setting was changed."""

from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs import push
from jobs.cli.command import Command, Outcome, quiet, run, say
from jobs.cli.reject_filters import filter_options, parse_selection

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from streaming.rejects import Replay
    from streaming.upload.push_report import PushReport


@click.command(cls=Command, name="replay", example="hub replay --reason too_small --since 7d --dry-run")
@click.argument("positions", nargs=-1, metavar="[POSITION]…")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of uploads; the newest are sent.")
@click.option("--all", "everything", is_flag=True, help="All rejected uploads.")
@click.option("--dry-run", is_flag=True, help="Only report what would be sent.")
def main(
    positions: tuple[str, ...], reasons: tuple[str, ...], batches: tuple[str, ...], devices: tuple[str, ...],
    since: str | None, limit: int | None, everything: bool, dry_run: bool,
) -> Outcome:  # fmt: skip
    """Send rejected uploads to Kafka again, unchanged, so that the next ingest verifies them again.

    POSITION is topic/partition/offset as `hub rejects` lists it. Value and headers are the original ones,
    with the header hub_replay_of added; the key is the device. An upload is accepted at most once: if it is
    replayed twice, the second is a duplicate_upload. Uploads rejected as duplicate_upload are not sent.
    """
    from conf import settings as configuration
    from lake.spark import session
    from local import broker
    from streaming import rejects, topics

    chosen = parse_selection(reasons, batches, devices, since, positions, limit)
    if not (positions or reasons or batches or devices or since or everything):
        raise UsageError("select uploads: --reason, --batch, --device, --since, positions, or --all")
    settings = configuration.load()
    bootstrap = "" if dry_run else broker.address(settings)
    if not dry_run:
        topics.describe(settings.kafka, bootstrap)  # report an unreachable broker before Spark starts
    spark = session.start(settings, "replay")
    try:
        planned = rejects.plan_replay(spark, settings.lake, chosen)
        sent = None if dry_run else replay(spark, settings, bootstrap, planned)
    finally:
        session.stop(spark)
    return results(planned, sent), summary(planned, sent), push.exit_status(sent) if sent else 0


def replay(spark: "SparkSession", settings: "Settings", bootstrap: str, planned: "Replay") -> "PushReport":
    """Send the uploads of a plan, with a progress bar.

    Raises:
        BrokerUnreachable: no broker answers at the address.
    """
    from tqdm import tqdm

    from streaming import rejects
    from streaming.upload import producer

    say(
        f"Sending {len(planned.positions):,} rejected uploads to {settings.kafka.topic} at {bootstrap} again."
    )
    with tqdm(unit=" uploads", desc="replay", disable=quiet() or None, dynamic_ncols=True) as bar:

        def show(report: "PushReport") -> None:
            bar.update(report.acknowledged - bar.n)

        records = rejects.replay_records(spark, settings.lake, planned)
        return producer.push(settings.kafka, settings.push, bootstrap, records, None, show)


def results(planned: "Replay", sent: "PushReport | None") -> dict[str, object]:
    """The result for --json."""
    from streaming.rejects import format_position

    return {
        "chosen": len(planned.positions),
        "reasons": planned.counts,
        "duplicates_left_out": planned.duplicates,
        "positions": [format_position(at) for at in planned.positions],
        "dry_run": sent is None,
        "sent": sent.sent if sent else 0,
        "acknowledged": sent.acknowledged if sent else 0,
        "failed": sent.failed if sent else 0,
        "first_error": sent.first_error if sent else None,
    }


def summary(planned: "Replay", sent: "PushReport | None") -> str:
    """The result as text."""
    of = ", ".join(f"{reason} {count:,}" for reason, count in planned.counts.items())
    lines = [f"{len(planned.positions):,} would be sent ({of}); nothing was sent"]
    if sent is not None:
        lines = [f"{sent.acknowledged:,} sent again, {sent.failed:,} failed ({of}); next, run `hub ingest`"]
        if sent.first_error:
            lines.append(f"first failure: {sent.first_error}")
    if planned.duplicates:
        lines.append(
            f"{planned.duplicates:,} duplicate_upload not sent: their ids were accepted before, and would be "
            "rejected again"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
