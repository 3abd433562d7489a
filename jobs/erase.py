"""`hub erase`: remove a user's uploads, pixels and samples from every table."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run, say

if TYPE_CHECKING:
    from streaming.erasure import Erasure


@click.command(cls=Command, name="erase", example="hub erase --user user-17 --dry-run")
@click.option("--user", required=True, help="Id of the user, as in ce_user.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed and remove nothing.")
def main(user: str, dry_run: bool) -> Outcome:
    """Remove a user's rows, pixels and samples from every table, old versions included.

    It cannot be undone. No ingestion and no organization may run meanwhile.
    Interrupted, run it again. It says which snapshots and models hold the user's images, and what is out of
    its reach.
    """
    from conf import settings as configuration
    from lake.locks import maintenance_lock
    from lake.spark import session
    from local import broker
    from streaming import erasure, topics
    from streaming.ledger import lake_lease

    if not user:
        raise UsageError("--user is empty: give the id of a user")
    settings = configuration.load()
    bootstrap = broker.address(settings)
    topics.describe(settings.kafka, bootstrap)  # a broker that is away is told before Spark starts
    if not dry_run:
        lake_lease.refuse_if_held(settings)
        maintenance_lock.refuse_if_held(settings)
    spark = session.start(settings, "erase")
    try:
        if dry_run:
            found = erasure.planned(spark, settings, bootstrap, user)
        else:
            found = erasure.erase(spark, settings, bootstrap, user, lambda step: say(f"{step} …"))
    finally:
        spark.stop()
    return results(user, found, dry_run), summary(found, dry_run), 0


def results(user: str, found: "Erasure", dry_run: bool) -> dict[str, object]:
    """The erasure as JSON."""
    more = {"resumed": found.resumed, "out_of_reach": found.out_of_reach, "dry_run": dry_run}
    return {"user": user} | asdict(found.traces) | more


def summary(found: "Erasure", dry_run: bool) -> str:
    """The erasure for a person."""
    traces = found.traces
    lines = [
        f"{'would be erased' if dry_run else 'erased'}: {traces.uploads:,} uploads "
        f"({traces.accepted:,} accepted), {traces.images_removed:,} images; {traces.images_kept:,} images "
        "stay, because others uploaded them, too"
    ]
    if found.resumed:
        lines.insert(0, "an erasure of this user had been interrupted; this goes on with it")
    lines.append("out of reach:")
    return "\n".join(lines + [f"  {each}" for each in found.out_of_reach])


if __name__ == "__main__":
    run(main)
