"""`hub organize --once` and `--follow`: embed, group, cluster and score samples as uploads arrive."""

import os
import threading
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from jobs.cli.command import Outcome, say

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from organize.follow.counts import Counts

_NICE = 5  # on this machine an ingestion that runs beside it gets the cores first


def once(settings: "Settings") -> Outcome:
    """Organize what is in the lake now."""
    from lake.spark import session
    from organize.follow.catching_up import catch_up

    spark = _session(settings)
    try:
        counts = catch_up(spark, settings, wait=True, report=_say_with_time, command="organize --once")
    finally:
        session.stop(spark)
    return _outcome(counts)


def follow(settings: "Settings") -> Outcome:
    """Organize what is in the lake, and then what arrives, until Ctrl-C or SIGTERM."""
    from lake.spark import session
    from organize.follow.catching_up import follow as follow_ledger
    from organize.follow.counts import Counts

    spark, stopped, counts = _session(settings), threading.Event(), Counts()
    say("Organizing uploads as they arrive, until Ctrl-C.")
    try:
        with suppress(KeyboardInterrupt):
            follow_ledger(spark, settings, stopped, counts, _say_with_time)
    finally:
        stopped.set()
        session.stop(spark)
    say("Stopped; the next one resumes where this one stopped.")
    return _outcome(counts)


def _session(settings: "Settings") -> "SparkSession":
    from lake.spark import session, shares

    if shares.is_local(settings.spark.master):
        os.nice(_NICE)  # before the JVM and its Python workers, which inherit it
    return session.start(settings, "organize")


def _say_with_time(line: str) -> None:
    say(f"{datetime.now():%H:%M:%S} {line}")


def _outcome(counts: "Counts") -> Outcome:
    from organize.follow.stages import STAGES

    results = counts.results(tuple(stage.key for stage in STAGES))
    parts = [
        f"{counts.embedded:,} images embedded",
        *(f"{results[each.key]:,} {each.key}" for each in STAGES),
    ]
    if counts.unreadable:
        parts.append(f"{counts.unreadable:,} cannot be decoded")
    if counts.waiting:
        parts.append(f"{counts.waiting:,} have no sample yet: run `hub ingest --once`")
    return results, f"{', '.join(parts)}; {counts.seconds:.1f} s", 0
