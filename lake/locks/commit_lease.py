"""Locks on commits to tables that several processes write.

On S3 commits take turns: there Delta for Spark could replace the commit of another process. Elsewhere they do
not disturb each other. Everywhere they wait for a purge, which would delete the files of an unfinished
commit, and for whoever writes a whole table anew.
Docs: docs/decisions/034-commits-on-s3.md tells what would be lost without it.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from conf.settings import Settings
from lake.locks import lease
from lake.locks.lock_holder import LockHolder
from lake.table import Table

_LEASES_WAITED = 3  # a killed holder's lease ends by itself, and others may be before this process
_threads = {table: threading.Lock() for table in Table}  # threads take turns without asking the store


@contextmanager
def held(settings: Settings, *tables: Table) -> Iterator[None]:
    """Hold the lock on commits to tables while the block commits, after waiting for other holders.

    On S3 one process at a time holds a table's lock, and it does not nest. Elsewhere it is shared.

    Raises:
        InUse: others held it for longer than three leases; the message names the last of them.
        StorageError: the lake's root is not writable.
    """
    with _held(settings, tables, shared=True):
        yield


@contextmanager
def held_alone(settings: Settings, table: Table) -> Iterator[None]:
    """Let nobody else commit to a table while the block runs, likewise: to read it and write it anew."""
    with _held(settings, (table,), shared=False):
        yield


@contextmanager
def _held(settings: Settings, tables: tuple[Table, ...], shared: bool) -> Iterator[None]:
    seconds = settings.ingest.lease_seconds
    with ExitStack() as locks:
        for table in sorted(set(tables)):  # in one order, so that two processes never wait for each other
            if settings.lake.root.startswith("s3a://"):
                locks.enter_context(_threads[table])
            holder = LockHolder.this_process(f"(commits to {table})", settings.spark.work_dir)
            uri, patience = settings.lake.at(f"{table}.commit.lock"), _LEASES_WAITED * seconds
            locks.enter_context(
                lease.held_in_turn(uri, settings.s3, seconds, holder, patience, shared=shared)
            )
        yield
