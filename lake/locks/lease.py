"""One holder at a time: an OS lock on a local path, a lease object on S3.

Docs: docs/decisions/007-one-ingest.md says what each of the two guarantees.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from conf.sections import S3
from lake.errors import InUse, StorageError
from lake.locks.lock_holder import LockHolder

_TRIES, _PAUSE_SECONDS = 5, 0.05
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


@contextmanager
def held(
    uri: str, s3: S3, seconds: float, holder: LockHolder, on_loss: Callable[[str], None] = lambda why: None
) -> Iterator[None]:
    """Hold a place while the block runs.

    Args:
        uri: of a lock file or, on s3a://, of a lease object.
        s3: endpoint and region of the latter.
        seconds: it holds without being renewed.
        holder: told to whoever comes second.
        on_loss: called with why, from another thread, when a lease on S3 could not be kept.

    Raises:
        InUse: another process holds it; names it.
        StorageError: it cannot be written.
    """
    if uri.startswith("s3a://"):
        with _Lease(uri, s3, seconds, on_loss).taken(holder):
            yield
    else:
        with _locked(Path(uri), holder):
            yield


def refuse_if_held(uri: str, s3: S3, seconds: float, holder: LockHolder) -> None:
    """Look before a slow start; only `held` keeps others out.

    Raises:
        InUse: another process holds the place; names it.
        StorageError: it cannot be written.
    """
    if uri.startswith("s3a://"):
        _Lease(uri, s3, seconds, print).look()
    else:
        with _locked(Path(uri), holder):
            return


@contextmanager
def _locked(file: Path, holder: LockHolder) -> Iterator[None]:
    """An advisory lock of the OS: it goes with the process, however that ends."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(
            f"cannot write {file}: {error.strerror}; set HUB__LAKE__ROOT to a place this user may write"
        ) from None
    try:
        if not _lock(descriptor):
            other = LockHolder.read(os.pread(descriptor, 4096, 0))
            raise InUse(
                f"{file.parent} is in use by {other}: wait until it ends or stop it (kill -INT {other.pid})"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.content(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock the file; a look (see `refuse_if_held`) may hold it for a moment."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False


class _Untagged(Exception):
    """The store shows an object without its ETag, as some do while it is being replaced."""


class _Held:
    """How long a lease is still good.

    Args:
        seconds: after a renewal.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._until = seconds, time.monotonic() + seconds
        self._ending = threading.Lock()
        self.ended = threading.Event()
        self.trouble = ""  # what the last attempt to renew it met

    def renew(self, begun: float) -> None:
        """Note an attempt that has succeeded, and when it was begun."""
        self._until, self.trouble = begun + self._seconds, ""

    def remaining(self) -> float:
        """Seconds."""
        return self._until - time.monotonic()

    def end(self) -> bool:
        """End it; whether it had not ended before."""
        with self._ending:
            first = not self.ended.is_set()
            self.ended.set()
            return first


class _Lease:
    """An object that its holder renews and that others may replace once it is old.

    Its age is told by the store's own clock (Last-Modified against Date), so no two machines' clocks are
    compared; conditional writes let one of several claimants win.
    """

    def __init__(self, uri: str, s3: S3, seconds: float, on_loss: Callable[[str], None]) -> None:
        self._uri, self._seconds, self._on_loss = uri, seconds, on_loss
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        self._refused, self._failed = ClientError, (ClientError, BotoCoreError, _Untagged)
        bucket, _, key = uri.removeprefix("s3a://").partition("/")
        self._place = {"Bucket": bucket, "Key": key}
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=s3.endpoint or None,
            region_name=s3.region,
            config=Config(
                s3={"addressing_style": "path" if s3.path_style else "auto"},
                connect_timeout=seconds / 6,
                read_timeout=seconds / 6,
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
            ),
        )

    @contextmanager
    def taken(self, holder: LockHolder) -> Iterator[None]:
        """Hold the lease while the block runs."""
        held = _Held(self._seconds * 2 / 3)
        try:
            self._take(holder)
        except self._failed as error:
            raise StorageError(f"cannot write {self._uri}: {error}") from None
        threads = [
            threading.Thread(target=self._renew, args=(holder, held), name="lease", daemon=True),
            # An attempt may take as long as a name has addresses, times the time limit of each.
            threading.Thread(target=self._watch, args=(held,), name="lease-watch", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            held.end()
            for thread in threads:
                thread.join(self._seconds)
            self._release(holder)

    def look(self) -> None:
        """Refuse where another holds the lease."""
        try:
            found = self._look()
        except self._failed as error:
            raise StorageError(f"cannot read {self._uri}: {error}") from None
        if found is not None and found[1] < self._seconds:
            raise InUse(self._told(found[0], found[1]))

    def _take(self, holder: LockHolder) -> None:
        found = self._look()
        if found is None:
            won = self._put(holder, IfNoneMatch="*")
        else:
            other, age, etag = found
            if age < self._seconds:
                raise InUse(self._told(other, age))
            won = self._put(holder, IfMatch=etag)
        # A store that ignores the conditions lets the last one win; the others see it here or when renewing.
        now = self._look()
        if not won or now is None or now[0] != holder:
            raise InUse(self._told(now[0] if now else holder, 0.0))

    def _told(self, other: LockHolder, age: float) -> str:
        return (
            f"{self._uri.rpartition('/')[0]} is in use by {other}: stop it, or where it was killed wait "
            f"{max(1, round(self._seconds - age))} s until its lease ends"
        )

    def _look(self) -> tuple[LockHolder, float, str] | None:
        """The holder, the age of its last renewal in seconds, and the object's ETag."""
        answer = self._read()
        if answer is None:
            return None
        served = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = datetime.strptime(served, "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC) if served else None
        age: timedelta = (now or datetime.now(UTC)) - answer["LastModified"]
        return LockHolder.read(answer["Body"].read()), age.total_seconds(), answer["ETag"]

    def _read(self) -> Any:
        """The store's answer, with an ETag; None where there is no such object."""
        for _ in range(_TRIES):
            try:
                answer = self._client.get_object(**self._place)
            except self._refused as error:
                if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                    return None
                raise
            if "ETag" in answer:
                return answer
            answer["Body"].close()
            time.sleep(_PAUSE_SECONDS)
        raise _Untagged("it is shown without an ETag")

    def _put(self, holder: LockHolder, **condition: str) -> bool:
        try:
            self._client.put_object(**self._place, Body=holder.content(), **condition)
        except self._refused as error:
            if error.response["Error"]["Code"] in _TAKEN:
                return False
            raise
        return True

    def _renew(self, holder: LockHolder, held: _Held) -> None:
        while not held.ended.wait(self._seconds / 6):
            begun = time.monotonic()
            try:
                found = self._look()
                if found is None or found[0] != holder or not self._put(holder, IfMatch=found[2]):
                    self._lose(held, f"another process took the lease {self._uri}")
                else:
                    held.renew(begun)
            except Exception as error:  # whatever it is, the lease runs out if it stays
                held.trouble = str(error) or type(error).__name__

    def _watch(self, held: _Held) -> None:
        while not held.ended.wait(max(0.0, held.remaining())):
            if held.remaining() <= 0:
                why = held.trouble or "the store does not answer"
                self._lose(held, f"the lease {self._uri} could not be renewed: {why}")

    def _lose(self, held: _Held, why: str) -> None:
        if held.end():
            self._on_loss(why)

    def _release(self, holder: LockHolder) -> None:
        try:
            found = self._look()
            if found is not None and found[0] == holder:
                self._client.delete_object(**self._place)
        except self._failed:
            return  # it ends by itself
