"""The S3 client: its results, and its errors for a store that is busy, silent or breaks off."""

import time
from functools import partial

import pytest

from conf.sections import S3
from streaming.errors import (
    CredentialsError,
    NoSuchObject,
    ObjectChanged,
    ObjectTooLarge,
    StoreFaulty,
    StoreRefuses,
    StoreUnavailable,
)
from streaming.stores.objects import ObjectStore
from tests.support.s3server import Bucket, FaultProxy, chunked, free_port, with_header

pytestmark = pytest.mark.services


def with_endpoint(s3: S3, endpoint: str) -> S3:
    return s3.model_copy(update={"endpoint": endpoint})


def test_written_object_is_read_listed_and_found(bucket: Bucket) -> None:
    objects = ObjectStore(bucket.s3)
    objects.write(bucket.name, "a b/ü.jpg", b"content")
    (entry,) = objects.list_objects(bucket.name, "a b/")
    assert (entry.key, entry.size) == ("a b/ü.jpg", 7)
    assert objects.find(bucket.name, "a b/ü.jpg") == entry
    assert objects.find(bucket.name, "a b/") is None
    assert objects.size(bucket.name, "a b/ü.jpg") == 7
    assert objects.size(bucket.name, "nothing") is None
    assert objects.read(bucket.name, entry.key, 7, entry.etag) == b"content"
    assert objects.read_range(entry, 2, 3) == b"nte"


def test_missing_changed_and_too_large_objects_raise_different_errors(bucket: Bucket) -> None:
    bucket.put({"x": b"old"})
    objects = ObjectStore(bucket.s3)
    (entry,) = objects.list_objects(bucket.name, "")
    bucket.put({"x": b"newer"})
    with pytest.raises(ObjectChanged, match="changed"):
        objects.read_range(entry, 0, 2)
    with pytest.raises(ObjectTooLarge, match="5 bytes, at most 4"):
        objects.read(bucket.name, "x", 4)
    with pytest.raises(NoSuchObject, match=f"s3://{bucket.name}/y: no such object"):
        objects.read(bucket.name, "y", 4)
    with pytest.raises(StoreRefuses, match="s3://no-such-bucket/y: no such bucket"):
        objects.read("no-such-bucket", "y", 4)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_ACCESS_KEY_ID", "stranger", "does not know AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "guess", "AWS_SECRET_ACCESS_KEY does not belong"),
        ("AWS_SECRET_ACCESS_KEY", "", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_wrong_credentials_are_named(
    bucket: Bucket, name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsError, match=message):
        list(ObjectStore(bucket.s3).list_objects(bucket.name, ""))


def test_request_to_a_busy_store_is_retried(bucket: Bucket) -> None:
    bucket.put({"x": b"content"})
    answers = iter([503, 500])
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: next(answers, None))
    with proxy.running() as endpoint:
        assert ObjectStore(with_endpoint(bucket.s3, endpoint)).read(bucket.name, "x", 10) == b"content"
    assert len(proxy.seen) == 3


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (503, StoreUnavailable, "busy: HTTP 503 SlowDown, at each of 3 attempts"),
        (500, StoreFaulty, "failed: HTTP 500 InternalError, at each of 3 attempts"),
        ("stall", StoreUnavailable, "does not answer.*at each of 3 attempts"),
        ("cut", StoreFaulty, "at each of 3 attempts"),
    ],
)
def test_store_that_keeps_failing_is_an_error_after_all_attempts(
    spoil: int | str, error: type[StoreFaulty], message: str, bucket: Bucket
) -> None:
    bucket.put({"x": bytes(100_000)})
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: spoil)
    own = bucket.s3.model_copy(update={"read_seconds": 0.3})
    with proxy.running() as endpoint, pytest.raises(error, match=message) as caught:
        ObjectStore(with_endpoint(own, endpoint)).read(bucket.name, "x", 100_000)
    assert type(caught.value) is error
    assert len(proxy.seen) == 3
    assert "\n" not in str(caught.value)


def test_body_that_arrives_too_slowly_is_stopped_at_the_deadline(bucket: Bucket) -> None:
    """Bytes keep arriving, so no socket timeout ever fires."""
    bucket.put({"x": bytes(1000)})
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: "trickle")
    with proxy.running() as endpoint, pytest.raises(StoreUnavailable, match="bytes in 1 s"):
        begun = time.monotonic()
        ObjectStore(with_endpoint(bucket.s3, endpoint), seconds=1).read(bucket.name, "x", 1000)
    assert time.monotonic() - begun < 10


def test_object_without_a_stated_length_is_read_up_to_the_limit(bucket: Bucket) -> None:
    """As from a store that decompresses while it sends, and knows the length only at the end."""
    bucket.put({"x": b"content" * 100})
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: chunked)
    with proxy.running() as endpoint:
        objects = ObjectStore(with_endpoint(bucket.s3, endpoint), seconds=5)
        assert objects.read(bucket.name, "x", 700) == b"content" * 100
        with pytest.raises(ObjectTooLarge, match="more than 699 bytes, at most 699 are allowed"):
            objects.read(bucket.name, "x", 699)
        assert objects.size(bucket.name, "x") is None
        (entry,) = ObjectStore(bucket.s3).list_objects(bucket.name, "")
        assert objects.read_range(entry, 7, 14) == b"content" * 2


def test_chunked_body_that_breaks_off_is_an_error(bucket: Bucket) -> None:
    bucket.put({"x": b"content" * 100})
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: lambda answer: chunked(answer)[:-100])
    message = r"broke off.*, at each of 3 attempts"
    with proxy.running() as endpoint, pytest.raises(StoreFaulty, match=message):
        ObjectStore(with_endpoint(bucket.s3, endpoint)).read(bucket.name, "x", 700)


@pytest.mark.parametrize("header", ["Last-Modified", "Content-Length", "x-amz-missing-meta"])
def test_malformed_response_header_is_the_stores_fault(bucket: Bucket, header: str) -> None:
    bucket.put({"x": b"content"})
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: partial(with_header, header, "yesterday"))
    message = f"s3://{bucket.name}/x: the request failed: .*yesterday.*, at each of 3 attempts"
    with proxy.running() as endpoint, pytest.raises(StoreFaulty, match=message):
        ObjectStore(with_endpoint(bucket.s3, endpoint)).read(bucket.name, "x", 700)


def test_endpoint_without_a_server_is_an_error_in_time(s3: S3) -> None:
    own = with_endpoint(s3, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable, match="s3://bucket/: the store does not answer"):
        list(ObjectStore(own).list_objects("bucket", ""))
