"""Fetching of referenced pictures (`ce_dataref`): from allowed places, with a time limit and a size limit.

A reference that is not allowed is rejected before any request. docs/decisions/005-payload-references.md says
which errors are verdicts and which fail the batch.
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

from conf.sections import S3, Payloads
from streaming.contract.envelope import Envelope
from streaming.contract.references import Reference
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, quoted
from streaming.errors import CredentialsError, ObjectError, ObjectTooLarge, StoreUnavailable
from streaming.isolate.shared_memory import Buffer
from streaming.stores.objects import ObjectStore

Content = Buffer | Rejected


class PayloadFetcher:
    """Fetches the pictures that references name, in several threads.

    Each Python worker has one fetcher (see `fetcher_for`), with one client and one thread pool.

    Args:
        limits: allowed prefixes, threads and times.
        s3: the object store.
        max_bytes: size limit of a picture.
    """

    def __init__(self, limits: Payloads, s3: S3, max_bytes: int) -> None:
        self._limits = limits
        self._max_bytes = max_bytes
        self._objects = ObjectStore(s3, limits.seconds)
        self._breaker = _CircuitBreaker(limits.threads, limits.pause_seconds)
        self._pool = ThreadPoolExecutor(limits.threads, "payloads")

    def contents(self, records: Sequence[tuple[Buffer | None, Envelope]]) -> Iterator[Content]:
        """Yield the picture of each record, or its rejection, in the records' order.

        At most `threads` pictures are prefetched, so the caller should process each one at once. A record
        with both a value and a reference is a bad_header: CloudEvents demands that both are the same, and
        only fetching the reference could show it.

        Args:
            records: Kafka value and parsed headers of each record.

        Raises:
            CredentialsError: this process has no credentials that the store accepts.
        """
        remaining = iter(records)
        pending: deque[Content | Future[Content]] = deque()
        while True:
            pending += map(self._start, islice(remaining, self._limits.threads - len(pending)))
            if not pending:
                return
            first = pending.popleft()
            yield self._wait_for(first) if isinstance(first, Future) else first

    def fetch(self, references: Sequence[str]) -> list[Content]:
        """Fetch the picture of each reference, or its rejection; all are held in memory."""
        return list(self.contents([(None, Envelope(dataref=reference)) for reference in references]))

    def _start(self, record: tuple[Buffer | None, Envelope]) -> "Content | Future[Content]":
        """The picture, its rejection, or the future of a picture that is being fetched."""
        value, fields = record
        if fields.problem is not None:
            return fields.problem
        if fields.dataref is None:
            return value or b""
        if value is not None:
            return Rejected(Reason.BAD_HEADER, "has both a value and ce_dataref; send one of them")
        try:
            reference = Reference.parse(fields.dataref)
        except ValueError as error:
            return _unreachable(f"{quoted(fields.dataref)} {error}")
        prefix = reference.matching_prefix(self._limits.allowed)
        if prefix is None:
            return _unreachable(f"{quoted(fields.dataref)} is not below a prefix in payloads.allowed")
        return self._pool.submit(self._fetch, reference, prefix)

    def _wait_for(self, future: "Future[Content]") -> Content:
        # The threads have their own time limit; this one is for a call that blocks a thread.
        seconds = 2 * self._limits.seconds + 1
        try:
            return future.result(seconds)
        except TimeoutError:
            return _unreachable(f"no answer within {seconds:g} s")

    def _fetch(self, reference: Reference, prefix: str) -> Content:
        try:
            if reference.scheme == "file":
                return _read_file(reference, prefix, self._max_bytes)
            return self._read_object(reference)
        except (CredentialsError, ImportError, MemoryError):
            raise  # not the fault of an upload: the batch fails and is retried
        except ObjectTooLarge as error:
            return Rejected(Reason.TOO_LARGE, str(error))
        except ObjectError as error:
            return _unreachable(str(error))
        except OSError as error:
            return _unreachable(f"{reference}: {error.strerror or error}")
        except Exception as error:  # one reference must not stop the ingestion, whatever a store answers
            return _unreachable(f"{reference}: {type(error).__name__}: {' '.join(str(error).split())}")

    def _read_object(self, reference: Reference) -> bytes:
        self._breaker.check(str(reference))
        answered = True
        try:
            return self._objects.read(reference.bucket, reference.path, self._max_bytes)
        except StoreUnavailable:
            answered = False
            raise
        finally:
            self._breaker.record(answered)


@cache
def fetcher_for(rules: Rules) -> PayloadFetcher:
    """The fetcher of this process for these rules."""
    return PayloadFetcher(rules.payloads, rules.s3, rules.ingest.max_bytes)


class _CircuitBreaker:
    """Circuit breaker for an unavailable store: a batch of thousands must not time out thousands of times.

    Args:
        max_unanswered: consecutive fetches without an answer that open the breaker.
        pause: seconds for which it then stays open.
    """

    def __init__(self, max_unanswered: int, pause: float) -> None:
        self._max_unanswered = max_unanswered
        self._pause = pause
        self._unanswered = 0
        self._until = 0.0
        self._lock = threading.Lock()

    def check(self, where: str) -> None:
        """Raise StoreUnavailable during a pause, before a request is made."""
        with self._lock:
            left = self._until - time.monotonic()
        if left > 0:
            raise StoreUnavailable(f"{where}: the store is unavailable; next attempt in {left:.0f} s")

    def record(self, answered: bool) -> None:
        """Record whether the store answered a fetch."""
        with self._lock:
            self._unanswered = 0 if answered else self._unanswered + 1
            if self._unanswered >= self._max_unanswered:
                self._until = time.monotonic() + self._pause


def _unreachable(detail: str) -> Rejected:
    return Rejected(Reason.PAYLOAD_UNREACHABLE, detail)


def _read_file(reference: Reference, prefix: str, limit: int) -> bytes:
    """Read a regular file below a folder, following no symbolic link: a link could lead out of the folder."""
    root = prefix.removeprefix("file://")
    parts = reference.parts[root.count("/") :]
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Without O_NONBLOCK, opening a pipe without a writer would block.
        handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        status = os.fstat(handle)
        # Checked first: os.fdopen refuses a folder but leaves its descriptor open.
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        if status.st_size > limit:
            raise ObjectTooLarge(f"{reference}: {status.st_size} bytes, at most {limit} are allowed")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(content) > limit:
        raise ObjectTooLarge(f"{reference}: more than {limit} bytes, at most {limit} are allowed")
    return content
