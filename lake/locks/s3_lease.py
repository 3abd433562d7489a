"""A lease on S3: an object that its holder renews and that others may take over after it has expired."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from conf.sections import S3
from lake.errors import InUse, StorageError
from lake.locks import proof_of_life
from lake.locks.lock_holder import LockHolder

_TRIES, _PAUSE_SECONDS = 5, 0.05
_CONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


class _MissingETag(Exception):
    """The store served an object without its ETag, as some do while the object is being replaced."""


class _LeaseTerm:
    """The time for which a lease that this process holds is still valid.

    Args:
        seconds: of validity after a renewal.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._expires = seconds, time.monotonic() + seconds
        self._end_lock = threading.Lock()
        self.ended = threading.Event()
        self.last_error = ""  # of the last attempt to renew

    def renew(self, started: float) -> None:
        """Extend the term after a successful renewal that began at this time."""
        self._expires, self.last_error = started + self._seconds, ""

    def remaining(self) -> float:
        """Seconds until the lease expires."""
        return self._expires - time.monotonic()

    def end(self) -> bool:
        """End the term; True for the first call only."""
        with self._end_lock:
            first = not self.ended.is_set()
            self.ended.set()
            return first


class S3Lease:
    """A lease for mutual exclusion between machines.

    Its age is the difference between the store's own Last-Modified and Date, so no clocks of two machines are
    compared. Of several processes that acquire the lease at once, conditional writes let one succeed. A lease
    whose holder has certainly ended is free at once.

    Args:
        uri: of the lease object, s3a://.
        s3: endpoint and region.
        seconds: for which the lease is valid after a renewal.
        on_loss: called with the reason, from another thread, when the lease was lost.
    """

    def __init__(self, uri: str, s3: S3, seconds: float, on_loss: Callable[[str], None]) -> None:
        self._uri, self._seconds, self._on_loss = uri, seconds, on_loss
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        self._client_error, self._errors = ClientError, (ClientError, BotoCoreError, _MissingETag)
        bucket, _, key = uri.removeprefix("s3a://").partition("/")
        self._object = {"Bucket": bucket, "Key": key}
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
    def hold(self, holder: LockHolder) -> Iterator[None]:
        """Hold the lease while the block runs."""
        with proof_of_life.given(holder):
            yield from self._hold(holder)

    def _hold(self, holder: LockHolder) -> Iterator[None]:
        term = _LeaseTerm(self._seconds * 2 / 3)
        try:
            self._acquire(holder)
        except BaseException as error:
            proof_of_life.remove(holder)
            if isinstance(error, self._errors):
                raise StorageError(f"cannot write {self._uri}: {error}") from None
            raise
        threads = [
            threading.Thread(target=self._renew, args=(holder, term), name="lease", daemon=True),
            # A separate thread: a renewal may block for a timeout on each address of the store's host name.
            threading.Thread(target=self._expire, args=(term,), name="lease-watch", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            term.end()
            for thread in threads:
                thread.join(self._seconds)
            self._release(holder)

    def refuse_if_held(self) -> None:
        """Raise InUse if another process holds the lease."""
        try:
            current = self._read()
        except self._errors as error:
            raise StorageError(f"cannot read {self._uri}: {error}") from None
        if current is not None and self._is_valid(current[0], current[1]):
            raise InUse(self._in_use(current[0], current[1]))

    def _acquire(self, holder: LockHolder) -> None:
        current = self._read()
        if current is None:
            won = self._write(holder, IfNoneMatch="*")
        else:
            other, age, etag = current
            if self._is_valid(other, age):
                raise InUse(self._in_use(other, age))
            won = self._write(holder, IfMatch=etag)
            proof_of_life.remove(other)
        # If the store ignores the conditions, the last writer wins; the others notice here or on renewal.
        now = self._read()
        if not won or now is None or now[0] != holder:
            raise InUse(self._in_use(now[0] if now else holder, 0.0))

    def _is_valid(self, other: LockHolder, age: float) -> bool:
        return age < self._seconds and not proof_of_life.has_ended(other)

    def _in_use(self, other: LockHolder, age: float) -> str:
        return (
            f"{self._uri.rpartition('/')[0]} is in use by {other}: stop it or, if it was killed, wait "
            f"{max(1, round(self._seconds - age))} s until its lease expires"
        )

    def _read(self) -> tuple[LockHolder, float, str] | None:
        """The holder, the age of its last renewal in seconds, and the object's ETag; None without a lease."""
        response = self._get_object()
        if response is None:
            return None
        date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC) if date else None
        age: timedelta = (now or datetime.now(UTC)) - response["LastModified"]
        return LockHolder.from_json(response["Body"].read()), age.total_seconds(), response["ETag"]

    def _get_object(self) -> Any:
        """The store's response, with an ETag; None if the object does not exist."""
        for _ in range(_TRIES):
            try:
                response = self._client.get_object(**self._object)
            except self._client_error as error:
                if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                    return None
                raise
            if "ETag" in response:
                return response
            response["Body"].close()
            time.sleep(_PAUSE_SECONDS)
        raise _MissingETag("the store serves it without an ETag")

    def _write(self, holder: LockHolder, **condition: str) -> bool:
        """Write the object; False if the condition failed."""
        try:
            self._client.put_object(**self._object, Body=holder.to_json(), **condition)
        except self._client_error as error:
            if error.response["Error"]["Code"] in _CONDITION_FAILED:
                return False
            raise
        return True

    def _renew(self, holder: LockHolder, term: _LeaseTerm) -> None:
        while not term.ended.wait(self._seconds / 6):
            started = time.monotonic()
            try:
                current = self._read()
                if current is None or current[0] != holder or not self._write(holder, IfMatch=current[2]):
                    self._lose(term, f"another process took the lease {self._uri}")
                else:
                    term.renew(started)
            except Exception as error:  # of any kind: if it persists, the lease expires
                term.last_error = str(error) or type(error).__name__

    def _expire(self, term: _LeaseTerm) -> None:
        while not term.ended.wait(max(0.0, term.remaining())):
            if term.remaining() <= 0:
                why = term.last_error or "the store does not answer"
                self._lose(term, f"the lease {self._uri} could not be renewed: {why}")

    def _lose(self, term: _LeaseTerm, why: str) -> None:
        if term.end():
            self._on_loss(why)

    def _release(self, holder: LockHolder) -> None:
        try:
            current = self._read()
            if current is not None and current[0] == holder:
                self._client.delete_object(**self._object)
            proof_of_life.remove(holder)
        except self._errors:
            return  # others find the proof unlocked, or the lease expires
