"""A lease on commits to a table that several processes write: on S3, where Delta for Spark needs it.

Docs: docs/decisions/034-commits-on-s3.md tells what would be lost without it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from conf.settings import Settings
from lake.locks import lease
from lake.locks.lock_holder import LockHolder
from lake.table import Table

_LEASES_WAITED = 3  # a killed holder's lease ends by itself, and others may be before this process
_threads = threading.Lock()  # threads of one process take turns without asking the store


@contextmanager
def held(settings: Settings, table: Table) -> Iterator[None]:
    """Hold the lease on a table's commits while the block commits, after waiting for other holders.

    Elsewhere than on S3 nothing is held: a commit there never replaces another. Does not nest.

    Raises:
        InUse: others held it for longer than three leases; the message names the last of them.
        StorageError: the lake's root is not writable.
    """
    if not settings.lake.root.startswith("s3a://"):
        yield
        return
    uri, seconds = settings.lake.at(f"{table}.commit.lock"), settings.ingest.lease_seconds
    holder = LockHolder.this_process(f"(commits to {table})", settings.spark.work_dir)
    with _threads, lease.held_in_turn(uri, settings.s3, seconds, holder, _LEASES_WAITED * seconds):
        yield
