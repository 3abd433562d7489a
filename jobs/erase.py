"""`hub erase`: erase a user's uploads, pixels and samples from every table."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run, say

if TYPE_CHECKING:
    from streaming.erasure import Erasure


@click.command(cls=Command, name="erase", example="hub erase --user user-17 --dry-run")
@click.option("--user", help="Id of the user, as in ce_user.")
@click.option("--asked", is_flag=True, help="Erase everybody who has asked for it on a page.")
@click.option("--dry-run", is_flag=True, help="Only report what would be erased.")
def main(user: str | None, asked: bool, dry_run: bool) -> Outcome:
    """Erase a user's rows, pixels and samples from every table, old table versions included.

    This cannot be undone. No `hub ingest` and no `hub organize` may run at the same time. After an
    interruption run it again. It lists the dataset snapshots and models that contain the user's images, and
    what it cannot erase.
    """
    from conf import settings as configuration
    from lake.locks import maintenance_lock
    from lake.spark import session
    from local import broker
    from streaming import erasure, erasure_service, topics
    from streaming.ledger import lake_lease
    from web.erasures import person_files

    if bool(user) == asked:
        raise UsageError("give the id of a user with --user, or --asked")
    if asked and dry_run:
        raise UsageError("--dry-run needs --user")
    settings = configuration.load()
    bootstrap = broker.address(settings)
    topics.describe(settings.kafka, bootstrap)  # report an unreachable broker before Spark starts
    if not dry_run:
        lake_lease.refuse_if_held(settings)
        maintenance_lock.refuse_if_held(settings)
    spark = session.start(settings, "erase")
    try:
        if asked:
            done = erasure_service.erase_asked(spark, settings, bootstrap, lambda step: say(f"{step} …"))
        elif dry_run:
            result = erasure.plan(spark, settings, bootstrap, user or "")
        else:
            result = erasure.erase(spark, settings, bootstrap, user or "", lambda step: say(f"{step} …"))
    finally:
        session.stop(spark)
    if asked:
        for each in done.users:
            person_files.forget(settings, each)
        return asdict(done), f"erased: {len(done.users):,} users; {len(done.waiting):,} wait", 0
    if not dry_run:
        person_files.forget(settings, user or "")
    return results(user or "", result, dry_run), summary(result, dry_run), 0


def results(user: str, result: "Erasure", dry_run: bool) -> dict[str, object]:
    """The result of the erasure for --json."""
    more = {"resumed": result.resumed, "out_of_reach": result.remaining_copies, "dry_run": dry_run}
    return {"user": user} | asdict(result.traces) | more


def summary(result: "Erasure", dry_run: bool) -> str:
    """The result of the erasure as text."""
    traces = result.traces
    lines = [
        f"{'would be erased' if dry_run else 'erased'}: {traces.uploads:,} uploads "
        f"({traces.accepted:,} accepted), {traces.images_removed:,} images; {traces.images_kept:,} images "
        f"kept, because other users uploaded them too; {traces.decisions:,} decisions stay "
        f"without the name, {traces.watches:,} watched labels removed"
    ]
    if result.resumed:
        lines.insert(0, "an earlier erasure of this user was interrupted; it has been resumed")
    lines.append("not erased:")
    return "\n".join(lines + [f"  {each}" for each in result.remaining_copies])


if __name__ == "__main__":
    run(main)
