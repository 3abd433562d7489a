"""Pictures that travel as a reference, fetched for ingestion: allowed places only, in time, within a size.

A reference that is not allowed is a verdict before anything is asked of a store or of the disk. What an
answer or its absence means is in docs/decisions/005-claim-checks.md.
"""

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import islice

from conf.sections import S3
from conf.sections import Payloads as Limits
from streaming.contract.envelope import Envelope
from streaming.contract.references import Reference
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, quoted
from streaming.errors import CredentialsError, ObjectError, ObjectTooLarge, StoreUnavailable
from streaming.isolate.shared_memory import Buffer
from streaming.stores.objects import Objects

Content = Buffer | Rejected


class Payloads:
    """Fetches what references name, a few at once.

    Each Python worker has one (see `of`), and with it one client and one pool of threads.

    Args:
        limits: allowed prefixes, threads and times.
        s3: the store.
        max_bytes: of a picture that is taken.
    """

    def __init__(self, limits: Limits, s3: S3, max_bytes: int) -> None:
        self._limits = limits
        self._max_bytes = max_bytes
        self._objects = Objects(s3, limits.seconds)
        self._outage = _Outage(limits.threads, limits.pause_seconds)
        self._pool = ThreadPoolExecutor(limits.threads, "payloads")

    def contents(self, records: Sequence[tuple[Buffer | None, Envelope]]) -> Iterator[Content]:
        """The picture of each record, or the verdict, in the records' order.

        At most `threads` fetched pictures are held, so what is drawn should be worked on at once. A record
        with both a value and a reference is a bad_header: the contract takes one of them, and whether both
        are the same, as CloudEvents demands, could only be told by fetching what need not be fetched.

        Args:
            records: Kafka value and headers of each.

        Raises:
            CredentialsError: this process has none that the store takes.
        """
        ahead = iter(records)
        waiting: deque[Content | Future[Content]] = deque()
        while True:
            waiting += map(self._begun, islice(ahead, self._limits.threads - len(waiting)))
            if not waiting:
                return
            first = waiting.popleft()
            yield self._result(first) if isinstance(first, Future) else first

    def fetch(self, references: Sequence[str]) -> list[Content]:
        """What each reference names, or the verdict; all are in memory at the end."""
        return list(self.contents([(None, Envelope(dataref=reference)) for reference in references]))

    def _begun(self, record: tuple[Buffer | None, Envelope]) -> "Content | Future[Content]":
        value, found = record
        if found.problem is not None:
            return found.problem
        if found.dataref is None:
            return value or b""
        if value is not None:
            return Rejected(Reason.BAD_HEADER, "ce_dataref beside a value; send one of them")
        try:
            reference = Reference.parse(found.dataref)
        except ValueError as error:
            return _unreachable(f"{quoted(found.dataref)} {error}")
        prefix = reference.below(self._limits.allowed)
        if prefix is None:
            return _unreachable(f"{quoted(found.dataref)} is below no prefix that payloads.allowed lists")
        return self._pool.submit(self._fetched, reference, prefix)

    def _result(self, future: "Future[Content]") -> Content:
        # The threads keep their own time; this is for a disk or a store that holds one in mid-call.
        patience = 2 * self._limits.seconds + 1
        try:
            return future.result(patience)
        except TimeoutError:
            return _unreachable(f"no answer in {patience:g} s")

    def _fetched(self, reference: Reference, prefix: str) -> Content:
        try:
            if reference.scheme == "file":
                return _file(reference, prefix, self._max_bytes)
            return self._object(reference)
        except (CredentialsError, ImportError, MemoryError):
            raise  # nobody's upload is to blame; a batch that fails loses nothing
        except ObjectTooLarge as error:
            return Rejected(Reason.TOO_LARGE, str(error))
        except ObjectError as error:
            return _unreachable(str(error))
        except OSError as error:
            return _unreachable(f"{reference}: {error.strerror or error}")
        except Exception as error:  # one reference must not hold up all uploads, whatever a store answers
            return _unreachable(f"{reference}: {type(error).__name__}: {' '.join(str(error).split())}")

    def _object(self, reference: Reference) -> bytes:
        self._outage.check(str(reference))
        answered = True
        try:
            return self._objects.read(reference.bucket, reference.path, self._max_bytes)
        except StoreUnavailable:
            answered = False
            raise
        finally:
            self._outage.note(answered)


@cache
def of(rules: Rules) -> Payloads:
    """The one of this process for these rules."""
    return Payloads(rules.payloads, rules.s3, rules.ingest.max_bytes)


class _Outage:
    """Knows when a store is away, so that a batch of thousands does not wait for it thousands of times.

    Args:
        most: fetches in a row that may get no answer before the store counts as away.
        pause: seconds for which it is then left alone.
    """

    def __init__(self, most: int, pause: float) -> None:
        self._most = most
        self._pause = pause
        self._unanswered = 0
        self._until = 0.0
        self._lock = threading.Lock()

    def check(self, where: str) -> None:
        """Raise StoreUnavailable during a pause, without asking the store."""
        with self._lock:
            left = self._until - time.monotonic()
        if left > 0:
            raise StoreUnavailable(f"{where}: the store is away and asked again in {left:.0f} s")

    def note(self, answered: bool) -> None:
        """Count what became of a fetch."""
        with self._lock:
            self._unanswered = 0 if answered else self._unanswered + 1
            if self._unanswered >= self._most:
                self._until = time.monotonic() + self._pause


def _unreachable(detail: str) -> Rejected:
    return Rejected(Reason.PAYLOAD_UNREACHABLE, detail)


def _file(reference: Reference, prefix: str, limit: int) -> bytes:
    """A regular file below a folder; no link is followed on the way, so none leads out of it."""
    root = prefix.removeprefix("file://")
    parts = reference.parts[root.count("/") :]
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # A pipe that nobody writes to would hold an open without O_NONBLOCK.
        handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        about = os.fstat(handle)
        # Asked first: a file object refuses a folder by itself, and leaves its descriptor open.
        if not stat.S_ISREG(about.st_mode):
            raise OSError("no regular file")
        if about.st_size > limit:
            raise ObjectTooLarge(f"{reference}: {about.st_size} bytes, at most {limit} are taken")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(content) > limit:
        raise ObjectTooLarge(f"{reference}: more than {limit} bytes, at most so many are taken")
    return content
