"""An S3 object store by boto3: listing, reading and writing objects, with bounded patience.

boto3's clients may be used by many threads; making one may not, and costs 0.2 s, so each process makes one
for each set of settings, when it first needs it.
"""

import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from conf.sections import S3
from streaming.errors import (
    CredentialsError,
    NoSuchObject,
    ObjectChanged,
    ObjectTooLarge,
    StoreFaulty,
    StoreUnavailable,
)
from streaming.stores.s3_errors import as_store_error

_STEP = 1 << 16  # bytes of a body that are read between two looks at the clock
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_clients: dict[tuple[object, ...], Any] = {}
_making = threading.Lock()

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """An object as a listing or its own headers show it.

    Args:
        bucket, key: where it lies.
        size: in bytes.
        etag: changes with the content.
    """

    bucket: str
    key: str
    size: int
    etag: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Objects:
    """What can be done with the objects of a store; can be pickled and used by many threads.

    Requests that meet a 5xx, a 429 or silence are repeated as the settings say.

    Args:
        settings: where the store is, and how patiently it is asked. Credentials come from
            AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN only.
        seconds: that reading an object may take, all attempts together; None: as long as bytes come.
    """

    settings: S3
    seconds: float | None = None

    def entries(self, bucket: str, prefix: str, page: int = 1000) -> Iterator[Entry]:
        """All objects whose keys begin with a prefix, in the order of their keys.

        Args:
            page: objects that are asked for at once.

        Raises:
            ObjectError: the store refuses or does not answer.
        """
        asked: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": page}
        while True:
            answer = self._patiently(
                f"s3://{bucket}/{prefix}", lambda: self._client().list_objects_v2(**asked)
            )
            for found in answer.get("Contents", ()):
                yield Entry(bucket, found["Key"], found["Size"], found.get("ETag", ""))
            if not answer.get("IsTruncated"):
                return
            asked["ContinuationToken"] = answer["NextContinuationToken"]

    def find(self, bucket: str, key: str) -> Entry | None:
        """The object of exactly this key, or None.

        It is listed, not asked for, because a listing tells a missing bucket from a missing object.

        Raises:
            ObjectError: the store refuses or does not answer.
        """
        first = next(self.entries(bucket, key, page=1), None)
        return first if first and first.key == key else None

    def size(self, bucket: str, key: str) -> int | None:
        """Bytes of an object, or None where there is none or the store does not say.

        Raises:
            ObjectError: the store refuses or does not answer.
        """
        try:
            answer: dict[str, Any] = self._patiently(
                f"s3://{bucket}/{key}", lambda: self._client().head_object(Bucket=bucket, Key=key)
            )
        except NoSuchObject:
            return None
        return answer.get("ContentLength")

    def read(self, bucket: str, key: str, limit: int, etag: str | None = None) -> bytes:
        """An object's content.

        Args:
            limit: bytes that are taken; of a larger object no more than that is read.
            etag: that it must still have.

        Raises:
            ObjectTooLarge: it has more bytes.
            NoSuchObject, ObjectChanged: it is gone, or has another etag.
            ObjectError: the store refuses, breaks off or does not answer in time.
        """
        asked = {"Bucket": bucket, "Key": key} | ({"IfMatch": etag} if etag else {})
        where, ends = f"s3://{bucket}/{key}", self._ends()
        return self._patiently(where, lambda: self._body(where, asked, limit, ends), ends)

    def part(self, entry: Entry, start: int, size: int) -> bytes:
        """So many bytes of an object from a position on; the object must be the one that was listed.

        Raises:
            NoSuchObject, ObjectChanged: it is gone, or has another etag.
            ObjectError: the store refuses, breaks off or does not answer.
        """
        asked = {"Bucket": entry.bucket, "Key": entry.key, "Range": f"bytes={start}-{start + size - 1}"}
        if entry.etag:
            asked["IfMatch"] = entry.etag
        ends = self._ends()
        content = self._patiently(str(entry), lambda: self._body(str(entry), asked, size, ends), ends)
        if len(content) != size:
            raise ObjectChanged(f"{entry}: {len(content)} bytes from {start} on, {size} were listed")
        return content

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object; a reader sees all of it or nothing.

        Raises:
            ObjectError: the store refuses or does not answer.
        """
        asked = {"Bucket": bucket, "Key": key, "Body": content}
        self._patiently(f"s3://{bucket}/{key}", lambda: self._client().put_object(**asked))

    def _ends(self) -> float | None:
        return None if self.seconds is None else time.monotonic() + self.seconds

    def _body(self, where: str, asked: dict[str, str], limit: int, ends: float | None) -> bytes:
        from urllib3.exceptions import HTTPError

        answer = self._client().get_object(**asked)
        size: int | None = answer.get("ContentLength")  # none where a store sends in chunks
        most, taken = limit if size is None else size, bytearray()
        with answer["Body"] as body:
            if most > limit:
                raise ObjectTooLarge(f"{where}: {size} bytes, at most {limit} are taken")
            try:
                # read1 returns what has come, so that a body that trickles is left in time.
                while len(taken) <= most and (chunk := body.read1(_STEP)):
                    taken += chunk
                    if ends is not None and time.monotonic() > ends:
                        came = f"{len(taken)} of {size or '?'} bytes"
                        raise StoreUnavailable(f"{where}: {came} in {self.seconds:g} s")
            except HTTPError as error:
                raise as_store_error(where, error) from None
        if size is None and len(taken) > limit:
            raise ObjectTooLarge(f"{where}: more than {limit} bytes, at most so many are taken")
        if size is not None and len(taken) != size:
            raise StoreFaulty(f"{where}: {len(taken)} of {size} bytes came")
        return bytes(taken)

    def _patiently(self, where: str, call: Callable[[], T], ends: float | None = None) -> T:
        """Call until it succeeds, attempts are used up, or the time is."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        for attempt in count(1):
            try:
                return call()
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                problem = as_store_error(where, error)
            except ValueError as error:  # so boto3 says of a header that is not what it should be
                problem = StoreFaulty(f"{where}: asking the store failed: {' '.join(str(error).split())}")
            except StoreFaulty as error:
                problem = error
            pause = self.settings.backoff_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            late = ends is not None and time.monotonic() + pause >= ends
            if not isinstance(problem, StoreFaulty) or attempt >= self.settings.attempts or late:
                break
            time.sleep(pause)
        if isinstance(problem, StoreFaulty) and attempt > 1:
            raise type(problem)(f"{problem}, at each of {attempt} attempts") from None
        raise problem from None

    def _client(self) -> Any:
        credentials = tuple(os.environ.get(name) for name in _CREDENTIALS)
        made_for = (self.settings, self.seconds, credentials)
        with _making:
            if made_for not in _clients:
                _clients[made_for] = _made(self.settings, self.seconds, *credentials)
            return _clients[made_for]


def _made(settings: S3, seconds: float | None, key: str | None, secret: str | None, token: str | None) -> Any:
    import boto3
    from botocore.config import Config

    if not key or not secret:
        raise CredentialsError("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    # Where all attempts share a time, none of them may wait in silence for more than its part.
    share = math.inf if seconds is None else seconds / settings.attempts
    config = Config(
        connect_timeout=min(settings.connect_seconds, share),
        read_timeout=min(settings.read_seconds, share),
        retries={"mode": "standard", "total_max_attempts": 1},  # `_patiently` also repeats broken bodies
        max_pool_connections=64,
        s3={"addressing_style": "path" if settings.path_style else "virtual"},
        # Stores that are not Amazon's refuse the checksums that boto3 adds by itself.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint or None,
        region_name=settings.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=config,
    )
