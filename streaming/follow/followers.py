"""The list of followers. Ingestion, checkpoints, erasure and messages derive from it.

A new follower is one entry here. On an existing lake it reads the whole ledger, even after an erasure that
purged the ledger's history.
"""

from streaming.follow import dead_letters, label_counts, samples, samples_follower, verdicts
from streaming.follow.follower import Follower

FOLLOWERS = (
    Follower(
        name="samples",
        columns=samples.COLUMNS,
        on_restart="samples follow the ledger from its beginning, labels are counted again",
        writer=samples_follower.writer,
        reset=label_counts.recount_followed,
    ),
    Follower(
        name="dead-letters",
        columns=dead_letters.COLUMNS,
        on_restart="the dead letters of all uploads in the ledger are sent once more",
        writer=dead_letters.writer,
    ),
    Follower(
        name="verdicts",
        columns=verdicts.COLUMNS,
        on_restart="the verdicts on all uploads in the ledger are sent once more",
        writer=verdicts.writer,
        trigger_seconds=1.0,  # somebody waits for them
    ),
)
