"""A lease on commits to a table that several processes write: on S3, where Delta for Spark needs it.

Docs: docs/decisions/034-commits-on-s3.md tells what would be lost without it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from conf.settings import Settings
from lake.errors import InUse
from lake.locks import lease
from lake.locks.lock_holder import LockHolder
from lake.table import Table

_POLL_SECONDS = 0.1
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
    with _threads:
        deadline = time.monotonic() + _LEASES_WAITED * seconds
        while True:
            holder = LockHolder.this_process(f"(commits to {table})", settings.spark.work_dir)
            own = lease.held(uri, settings.s3, seconds, holder)
            try:
                own.__enter__()
                break
            except InUse:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            own.__exit__(None, None, None)
