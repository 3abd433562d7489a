"""The object store: what it answers, and what becomes of a store that is busy, silent or broken off."""

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
from streaming.stores.objects import Objects
from tests.support.s3server import Between, Bucket, chunked, free_port, headed

pytestmark = pytest.mark.services


def through(s3: S3, endpoint: str) -> S3:
    return s3.model_copy(update={"endpoint": endpoint})


def test_what_is_written_is_read_listed_and_found(bucket: Bucket) -> None:
    objects = Objects(bucket.s3)
    objects.write(bucket.name, "a b/ü.jpg", b"content")
    (entry,) = objects.entries(bucket.name, "a b/")
    assert (entry.key, entry.size) == ("a b/ü.jpg", 7)
    assert objects.find(bucket.name, "a b/ü.jpg") == entry
    assert objects.find(bucket.name, "a b/") is None
    assert objects.size(bucket.name, "a b/ü.jpg") == 7
    assert objects.size(bucket.name, "nothing") is None
    assert objects.read(bucket.name, entry.key, 7, entry.etag) == b"content"
    assert objects.part(entry, 2, 3) == b"nte"


def test_missing_changed_and_too_large_objects_are_told_apart(bucket: Bucket) -> None:
    bucket.put({"x": b"old"})
    objects = Objects(bucket.s3)
    (entry,) = objects.entries(bucket.name, "")
    bucket.put({"x": b"newer"})
    with pytest.raises(ObjectChanged, match="changed"):
        objects.part(entry, 0, 2)
    with pytest.raises(ObjectTooLarge, match="5 bytes, at most 4"):
        objects.read(bucket.name, "x", 4)
    with pytest.raises(NoSuchObject, match=f"s3://{bucket.name}/y: no such object"):
        objects.read(bucket.name, "y", 4)
    with pytest.raises(StoreRefuses, match="s3://no-such-bucket/y: no such bucket"):
        objects.read("no-such-bucket", "y", 4)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AWS_ACCESS_KEY_ID", "stranger", "does not know AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "guess", "AWS_SECRET_ACCESS_KEY is not the one"),
        ("AWS_SECRET_ACCESS_KEY", "", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_wrong_credentials_are_named(
    bucket: Bucket, name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsError, match=told):
        list(Objects(bucket.s3).entries(bucket.name, ""))


def test_store_that_is_busy_for_a_moment_costs_a_retry(bucket: Bucket) -> None:
    bucket.put({"x": b"content"})
    answers = iter([503, 500])
    between = Between(bucket.s3.endpoint, lambda method, path: next(answers, None))
    with between.running() as endpoint:
        assert Objects(through(bucket.s3, endpoint)).read(bucket.name, "x", 10) == b"content"
    assert len(between.seen) == 3


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (503, StoreUnavailable, "busy: HTTP 503 SlowDown, at each of 3 attempts"),
        (500, StoreFaulty, "failed: HTTP 500 InternalError, at each of 3 attempts"),
        ("stall", StoreUnavailable, "does not answer.*at each of 3 attempts"),
        ("cut", StoreFaulty, "at each of 3 attempts"),
    ],
)
def test_store_that_fails_for_good_is_told_after_all_attempts(
    spoil: int | str, error: type[StoreFaulty], told: str, bucket: Bucket
) -> None:
    bucket.put({"x": bytes(100_000)})
    between = Between(bucket.s3.endpoint, lambda method, path: spoil)
    own = bucket.s3.model_copy(update={"read_seconds": 0.3})
    with between.running() as endpoint, pytest.raises(error, match=told) as caught:
        Objects(through(own, endpoint)).read(bucket.name, "x", 100_000)
    assert type(caught.value) is error
    assert len(between.seen) == 3
    assert "\n" not in str(caught.value)


def test_body_that_trickles_is_left_when_the_time_is_over(bucket: Bucket) -> None:
    """Bytes keep coming, so no time limit of the socket is ever reached."""
    bucket.put({"x": bytes(1000)})
    between = Between(bucket.s3.endpoint, lambda method, path: "trickle")
    with between.running() as endpoint, pytest.raises(StoreUnavailable, match="bytes in 1 s"):
        begun = time.monotonic()
        Objects(through(bucket.s3, endpoint), seconds=1).read(bucket.name, "x", 1000)
    assert time.monotonic() - begun < 10


def test_object_without_a_stated_length_is_read_up_to_the_limit(bucket: Bucket) -> None:
    """So answers a store that unpacks what it holds packed, and learns of the length only at the end."""
    bucket.put({"x": b"content" * 100})
    between = Between(bucket.s3.endpoint, lambda method, path: chunked)
    with between.running() as endpoint:
        objects = Objects(through(bucket.s3, endpoint), seconds=5)
        assert objects.read(bucket.name, "x", 700) == b"content" * 100
        with pytest.raises(ObjectTooLarge, match="more than 699 bytes, at most so many are taken"):
            objects.read(bucket.name, "x", 699)
        assert objects.size(bucket.name, "x") is None
        (entry,) = Objects(bucket.s3).entries(bucket.name, "")
        assert objects.part(entry, 7, 14) == b"content" * 2


def test_chunked_body_that_breaks_off_is_told(bucket: Bucket) -> None:
    bucket.put({"x": b"content" * 100})
    between = Between(bucket.s3.endpoint, lambda method, path: lambda answer: chunked(answer)[:-100])
    told = r"broke off.*, at each of 3 attempts"
    with between.running() as endpoint, pytest.raises(StoreFaulty, match=told):
        Objects(through(bucket.s3, endpoint)).read(bucket.name, "x", 700)


@pytest.mark.parametrize("header", ["Last-Modified", "Content-Length", "x-amz-missing-meta"])
def test_header_that_is_not_what_it_should_be_is_the_stores_fault(bucket: Bucket, header: str) -> None:
    bucket.put({"x": b"content"})
    between = Between(bucket.s3.endpoint, lambda method, path: partial(headed, header, "yesterday"))
    told = f"s3://{bucket.name}/x: asking the store failed: .*yesterday.*, at each of 3 attempts"
    with between.running() as endpoint, pytest.raises(StoreFaulty, match=told):
        Objects(through(bucket.s3, endpoint)).read(bucket.name, "x", 700)


def test_endpoint_where_nothing_listens_is_told_in_time(s3: S3) -> None:
    own = through(s3, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable, match="s3://bucket/: the store does not answer"):
        list(Objects(own).entries("bucket", ""))
