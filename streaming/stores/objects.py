"""S3 client on boto3: list, read and write objects, with retries and a time limit.

boto3 clients are thread-safe, but creating one is not, and takes 0.2 s. So each process creates one client
for each set of settings, at its first request.
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

_CHUNK_BYTES = 1 << 16  # bytes of a body that are read between two checks of the deadline
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_clients: dict[tuple[object, ...], Any] = {}
_clients_lock = threading.Lock()

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectSummary:
    """An object's key, size and etag, from a listing.

    Args:
        bucket, key: its location.
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
class ObjectStore:
    """An S3 object store. It can be pickled and is thread-safe.

    Requests are retried after a 5xx, a 429 or a timeout, as the settings say.

    Args:
        settings: endpoint, timeouts and retries. Credentials come only from the environment:
            AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
        seconds: time limit for reading an object, all attempts together; None: no limit while bytes arrive.
    """

    settings: S3
    seconds: float | None = None

    def list_objects(self, bucket: str, prefix: str, page_size: int = 1000) -> Iterator[ObjectSummary]:
        """List all objects whose keys begin with a prefix, in the order of their keys.

        Args:
            page_size: objects in one request.

        Raises:
            ObjectError: the store refuses the request or does not answer.
        """
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": page_size}
        while True:
            response = self._with_retries(
                f"s3://{bucket}/{prefix}", lambda: self._client().list_objects_v2(**request)
            )
            for listed in response.get("Contents", ()):
                yield ObjectSummary(bucket, listed["Key"], listed["Size"], listed.get("ETag", ""))
            if not response.get("IsTruncated"):
                return
            request["ContinuationToken"] = response["NextContinuationToken"]

    def find(self, bucket: str, key: str) -> ObjectSummary | None:
        """The object with exactly this key, or None.

        This is a listing, not a HEAD request, because a listing distinguishes a missing bucket from a missing
        object.

        Raises:
            ObjectError: the store refuses the request or does not answer.
        """
        first = next(self.list_objects(bucket, key, page_size=1), None)
        return first if first and first.key == key else None

    def size(self, bucket: str, key: str) -> int | None:
        """Size of an object in bytes; None if there is no such object or the store omits its length.

        Raises:
            ObjectError: the store refuses the request or does not answer.
        """
        try:
            response: dict[str, Any] = self._with_retries(
                f"s3://{bucket}/{key}", lambda: self._client().head_object(Bucket=bucket, Key=key)
            )
        except NoSuchObject:
            return None
        return response.get("ContentLength")

    def read(self, bucket: str, key: str, limit: int, etag: str | None = None) -> bytes:
        """Read the content of an object.

        Args:
            limit: maximum size in bytes; of a larger object, no more bytes than that are read.
            etag: the expected etag.

        Raises:
            ObjectTooLarge: the object is larger than the limit.
            NoSuchObject, ObjectChanged: the object was deleted, or has another etag.
            ObjectError: the store refuses the request, breaks off or does not answer in time.
        """
        request = {"Bucket": bucket, "Key": key} | ({"IfMatch": etag} if etag else {})
        uri, deadline = f"s3://{bucket}/{key}", self._deadline()
        return self._with_retries(uri, lambda: self._read_body(uri, request, limit, deadline), deadline)

    def read_range(self, summary: ObjectSummary, start: int, size: int) -> bytes:
        """Read a byte range of an object, which must not have changed since it was listed.

        Raises:
            NoSuchObject, ObjectChanged: the object was deleted, or has another etag.
            ObjectError: the store refuses the request, breaks off or does not answer.
        """
        byte_range = f"bytes={start}-{start + size - 1}"
        request = {"Bucket": summary.bucket, "Key": summary.key, "Range": byte_range}
        if summary.etag:
            request["IfMatch"] = summary.etag
        uri, deadline = str(summary), self._deadline()
        content = self._with_retries(uri, lambda: self._read_body(uri, request, size, deadline), deadline)
        if len(content) != size:
            raise ObjectChanged(f"{uri}: {len(content)} bytes from {start} on, {size} were listed")
        return content

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object atomically: a reader sees all of it or nothing.

        Raises:
            ObjectError: the store refuses the request or does not answer.
        """
        request = {"Bucket": bucket, "Key": key, "Body": content}
        self._with_retries(f"s3://{bucket}/{key}", lambda: self._client().put_object(**request))

    def _deadline(self) -> float | None:
        return None if self.seconds is None else time.monotonic() + self.seconds

    def _read_body(self, uri: str, request: dict[str, str], limit: int, deadline: float | None) -> bytes:
        from urllib3.exceptions import HTTPError

        response = self._client().get_object(**request)
        size: int | None = response.get("ContentLength")  # None with chunked transfer encoding
        expected, content = limit if size is None else size, bytearray()
        with response["Body"] as body:
            if expected > limit:
                raise ObjectTooLarge(f"{uri}: {size} bytes, at most {limit} are allowed")
            try:
                # read1 returns the bytes that have arrived, so the deadline also stops a very slow body.
                while len(content) <= expected and (chunk := body.read1(_CHUNK_BYTES)):
                    content += chunk
                    if deadline is not None and time.monotonic() > deadline:
                        received = f"only {len(content)} of {size or '?'} bytes"
                        raise StoreUnavailable(f"{uri}: {received} in {self.seconds:g} s")
            except HTTPError as error:
                raise as_store_error(uri, error) from None
        if size is None and len(content) > limit:
            raise ObjectTooLarge(f"{uri}: more than {limit} bytes, at most {limit} are allowed")
        if size is not None and len(content) != size:
            raise StoreFaulty(f"{uri}: only {len(content)} of {size} bytes arrived")
        return bytes(content)

    def _with_retries(self, uri: str, call: Callable[[], T], deadline: float | None = None) -> T:
        """Call until it succeeds, all attempts are used, or the deadline has passed."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        for attempt in count(1):
            try:
                return call()
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                problem = as_store_error(uri, error)
            except ValueError as error:  # boto3 raises it for a malformed response header
                problem = StoreFaulty(f"{uri}: the request failed: {' '.join(str(error).split())}")
            except StoreFaulty as error:
                problem = error
            pause = self.settings.backoff_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            too_late = deadline is not None and time.monotonic() + pause >= deadline
            if not isinstance(problem, StoreFaulty) or attempt >= self.settings.attempts or too_late:
                break
            time.sleep(pause)
        if isinstance(problem, StoreFaulty) and attempt > 1:
            raise type(problem)(f"{problem}, at each of {attempt} attempts") from None
        raise problem from None

    def _client(self) -> Any:
        credentials = tuple(os.environ.get(name) for name in _CREDENTIALS)
        cache_key = (self.settings, self.seconds, credentials)
        with _clients_lock:
            if cache_key not in _clients:
                _clients[cache_key] = _create_client(self.settings, self.seconds, *credentials)
            return _clients[cache_key]


def _create_client(
    settings: S3, seconds: float | None, key: str | None, secret: str | None, token: str | None
) -> Any:
    import boto3
    from botocore.config import Config

    if not key or not secret:
        raise CredentialsError("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    # All attempts share `seconds`, so the timeouts of one attempt must not exceed its share.
    share = math.inf if seconds is None else seconds / settings.attempts
    config = Config(
        connect_timeout=min(settings.connect_seconds, share),
        read_timeout=min(settings.read_seconds, share),
        retries={"mode": "standard", "total_max_attempts": 1},  # `_with_retries` also retries broken bodies
        max_pool_connections=64,
        s3={"addressing_style": "path" if settings.path_style else "virtual"},
        # S3-compatible stores refuse the checksums that boto3 adds by default.
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
