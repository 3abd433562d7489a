"""Pictures in a bucket: prefixes and archives are read without a local copy; errors are reported."""

import json
import os
import tempfile
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conf.sections import S3, Kafka
from conf.settings import Settings
from streaming.contract.producer_record import ProducerRecord, Unsent
from streaming.errors import BadSource, ObjectError
from streaming.sources import buckets
from streaming.sources.items import Item, Skipped, Source
from streaming.sources.labels.labelling import Labelling
from streaming.upload import push_request
from streaming.upload.push_request import PushRequest
from tests.support import pictures
from tests.support.archives import LIMITS, MAKERS, PICTURE, tarred, zipped
from tests.support.commands import Hub
from tests.support.s3server import Bucket, FaultProxy, free_port
from tests.support.uploads import received

pytestmark = pytest.mark.services


def source(uri: str, s3: S3) -> Source:
    return buckets.open_source(uri, Labelling(), LIMITS, s3)


def read(uri: str, s3: S3) -> tuple[list[Item], Skipped]:
    skipped = Skipped()
    return list(source(uri, s3).items(skipped)), skipped


@pytest.mark.parametrize("prefix", ["in", "in/"])
def test_pictures_below_a_prefix_are_labelled_as_in_a_folder(prefix: str, bucket: Bucket) -> None:
    bucket.put({
        "in/train/cat/1.jpg": PICTURE,
        "in/Gelbe Rübe/2.JPEG": b"broken",
        "in/3.jpg": PICTURE,
        "in/cat/notes.txt": b"text",
        "in/cat/.hidden.jpg": PICTURE,
        "in/cat/large.jpg": bytes(LIMITS.member_limit + 1),
        "inside/cat/4.jpg": PICTURE,
    })  # fmt: skip
    items, skipped = read(bucket.uri(prefix), bucket.s3)
    assert [(item.name, item.content, item.label) for item in items] == [
        ("3.jpg", PICTURE, "in"),
        ("Gelbe Rübe/2.JPEG", b"broken", "Gelbe Rübe"),
        ("train/cat/1.jpg", PICTURE, "cat"),
    ]
    assert skipped.counts == {"hidden file": 1, "no picture by its ending": 1, "too large to be read": 1}


def test_names_alone_are_read_without_the_pictures(bucket: Bucket) -> None:
    """Only the beginning of an object is read whose name leaves open whether it is a picture."""
    large = pictures.jpeg(300, 200)
    bucket.put({"cat/1.jpg": large, "cat/2.jpg?w=300": large, "cat/3": b"text", "cat/4.txt": b"text"})
    proxy = FaultProxy(bucket.s3.endpoint)
    with proxy.running() as endpoint:
        store = bucket.s3.model_copy(update={"endpoint": endpoint})
        opened, skipped = source(bucket.uri(), store), Skipped()
        proxy.seen.clear()
        named = list(opened.items(skipped, names_only=True))
        requested = [path for _, path in proxy.seen if "list-type" not in path]
        sent = list(opened.items(Skipped()))
    assert [(item.name, item.content, item.label) for item in named] == [
        ("cat/1.jpg", b"", "cat"),
        ("cat/2.jpg?w=300", b"", "cat"),
    ]
    assert skipped.counts == {"no picture by its content": 1, "no picture by its ending": 1}
    assert len(set(requested)) == 2, requested  # a busy store is asked again
    assert [item.content for item in sent] == [large, large]


def test_listing_of_more_than_one_page_is_complete(bucket: Bucket) -> None:
    contents = {f"cat/{n:04}.jpg": b"%d" % n for n in range(1030)}
    client = bucket.client

    def put(key: str) -> None:
        client.put_object(Bucket=bucket.name, Key=key, Body=contents[key])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, contents))
    proxy = FaultProxy(bucket.s3.endpoint)
    with proxy.running() as endpoint:
        items, _ = read(bucket.uri(), bucket.s3.model_copy(update={"endpoint": endpoint}))
    assert {item.name: item.content for item in items} == contents
    assert [item.name for item in items] == sorted(contents)
    assert sum("continuation-token" in path for _, path in proxy.seen) == 1


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_archive_in_a_bucket_is_read_like_one_on_disk(kind: str, bucket: Bucket, tmp_path: Path) -> None:
    large = os.urandom(LIMITS.member_limit + 1)
    members = {"train/cat/1.jpg": PICTURE, "../x/2.jpg": PICTURE, "dog/3.jpg": large}
    path = MAKERS[kind](tmp_path / "archive", members)
    bucket.put({f"in/pictures.{kind}": path.read_bytes()})
    for uri in (bucket.uri(f"in/pictures.{kind}"), bucket.uri("in")):
        items, skipped = read(uri, bucket.s3)
        assert items == [Item("train/cat/1.jpg", PICTURE, "cat")]
        assert skipped.counts == {"path that escapes": 1, "member that explodes": 1}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_large_archive_is_read_with_a_few_blocks_of_memory(
    make: Callable[..., Path], bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is written, the first member needs only the first blocks, and memory holds a few blocks."""
    members = {f"cat/{n:02}.jpg": os.urandom(1_000_000) for n in range(64)}
    archive = make(tmp_path / "archive", members)
    bucket.put({"archive": archive.read_bytes()})
    archive.unlink()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(scratch)
    proxy = FaultProxy(bucket.s3.endpoint)
    with proxy.running() as endpoint:
        opened = source(bucket.uri("archive"), bucket.s3.model_copy(update={"endpoint": endpoint}))
        before = len(proxy.seen)
        assert next(opened.items(Skipped())).content == members["cat/00.jpg"]
        assert len(proxy.seen) - before <= 6
    opened = source(bucket.uri("archive"), bucket.s3)
    tracemalloc.start()
    try:
        assert sum(item.content == members[item.name] for item in opened.items(Skipped())) == 64
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 36e6
    assert not list(scratch.iterdir())


def test_object_deleted_or_changed_during_the_read_is_counted(bucket: Bucket) -> None:
    bucket.put({f"cat/{n}.jpg": pictures.jpeg(40, 40, seed=n) for n in range(8)})
    slow = bucket.s3.model_copy(update={"threads": 1, "read_ahead_bytes": 1})
    skipped = Skipped()
    items = source(bucket.uri(), slow).items(skipped)
    next(items)
    bucket.client.delete_object(Bucket=bucket.name, Key="cat/5.jpg")
    bucket.put({"cat/6.jpg": b"other"})
    assert [item.name for item in items] == [f"cat/{n}.jpg" for n in (1, 2, 3, 4, 7)]
    assert skipped.counts == {"gone before it was read": 1, "changed before it was read": 1}


def test_archive_changed_during_the_read_is_counted_and_ends(bucket: Bucket, tmp_path: Path) -> None:
    members = {f"cat/{n:02}.jpg": os.urandom(1_000_000) for n in range(40)}
    bucket.put({"a.tar": tarred(tmp_path / "a", members).read_bytes()})
    skipped = Skipped()
    items = source(bucket.uri("a.tar"), bucket.s3).items(skipped)
    next(items)
    bucket.put({"a.tar": bytes(1000)})
    assert sum(1 for _ in items) < 39
    assert skipped.counts == {"rest of a damaged archive": 1}


def test_damaged_archive_below_a_prefix_is_counted(bucket: Bucket) -> None:
    bucket.put({"cat/1.jpg": PICTURE, "rubbish.zip": b"rubbish"})
    items, skipped = read(bucket.uri(), bucket.s3)
    assert [item.name for item in items] == ["cat/1.jpg"]
    assert skipped.counts == {"archive that cannot be read": 1}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("nothing/here", "no picture to send: it is empty"),
        ("texts", "no picture to send: 1 × no picture by its ending"),
        ("texts/a.txt", "neither a zip nor a tar"),
        ("x.jpg", "neither a zip nor a tar"),
    ],
)
def test_bad_source_in_a_bucket_is_an_error_of_one_line(key: str, message: str, bucket: Bucket) -> None:
    bucket.put({"texts/a.txt": b"text", "x.jpg": PICTURE})
    with pytest.raises(BadSource, match=message) as caught:
        read(bucket.uri(key), bucket.s3)
    assert str(caught.value).startswith(bucket.uri(key))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3://", "s3://B/x", "s3://user@bucket/x", "s3://bucket:9000/x"])
def test_malformed_uri_is_an_error_of_one_line(uri: str, s3: S3) -> None:
    with pytest.raises(BadSource, match=r"write s3://bucket/prefix"):
        read(uri, s3)


def test_refusing_and_silent_stores_are_errors_of_one_line(bucket: Bucket) -> None:
    with pytest.raises(ObjectError, match=r"s3://nobodys-bucket/in/: no such bucket"):
        read("s3://nobodys-bucket/in/", bucket.s3)
    with FaultProxy(bucket.s3.endpoint, lambda method, path: 403).running() as endpoint:
        denied = bucket.s3.model_copy(update={"endpoint": endpoint})
        with pytest.raises(ObjectError, match="access denied"):
            read(bucket.uri(), denied)
    silent = bucket.s3.model_copy(update={"endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(ObjectError, match=r"the store does not answer.*at each of 3 attempts"):
        read(bucket.uri(), silent)


def test_store_lost_during_a_push_is_a_failure_and_what_was_read_is_sent(
    bucket: Bucket, settings: Settings
) -> None:
    bucket.put({f"cat/{n}.jpg": pictures.jpeg(40, 40, seed=n) for n in range(20)})
    down = False
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: 503 if down else None)
    with proxy.running() as endpoint:
        slow = bucket.s3.model_copy(update={"endpoint": endpoint, "threads": 1})
        made = push_request.records(PushRequest(bucket.uri(), "b"), settings.model_copy(update={"s3": slow}))
        first = next(made)
        down = True
        *sent, last = [first, *made]
    assert all(isinstance(record, ProducerRecord) for record in sent)
    assert 1 <= len(sent) < 20
    assert isinstance(last, Unsent)
    assert f"the rest of {bucket.uri()} was not read" in last.why


def test_push_from_a_bucket_arrives_byte_for_byte(
    bucket: Bucket, kafka: Kafka, hub: Hub, tmp_path: Path
) -> None:
    contents = [pictures.jpeg(40, 40, seed=n) for n in range(6)]
    bucket.put({f"in/cat/{n}.jpg": content for n, content in enumerate(contents[:3])})
    members = {f"dog/{n}.jpg": content for n, content in enumerate(contents[3:])}
    bucket.put({"in/more.zip": zipped(tmp_path / "z", members).read_bytes()})
    environment = {
        "HUB__S3__ENDPOINT": bucket.s3.endpoint,
        "HUB__KAFKA__BOOTSTRAP": kafka.bootstrap,
        "HUB__KAFKA__TOPIC": kafka.topic,
    }
    done = hub("push", bucket.uri("in"), "--json", **environment)
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["acknowledged"], found["failed"], found["labels"]) == (6, 0, {"cat": 3, "dog": 3})
    assert sorted(each.value for each in received(kafka, kafka.topic)) == sorted(contents)

    refused = hub("push", "s3://nobodys-bucket/in", **environment)
    assert (refused.status, refused.stdout) == (1, "")
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "no such bucket" in refused.stderr
    keyless = hub("push", bucket.uri("in"), **environment, AWS_ACCESS_KEY_ID="")
    assert keyless.status == 1
    assert "no credentials: set AWS_ACCESS_KEY_ID" in keyless.stderr
