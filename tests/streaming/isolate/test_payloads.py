"""Fetching of referenced pictures: allowed places, time limit, size limit, and rejected references."""

import os
import pickle
import socket
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from conf.sections import S3, Payloads
from conf.settings import Settings
from streaming.contract.envelope import Envelope
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, RejectReason
from streaming.errors import CredentialsError
from streaming.isolate import payloads
from streaming.stores.objects import ObjectStore
from tests.support.s3server import Bucket, Change, FaultProxy, chunked, free_port, with_header

MOST = 1000


@pytest.fixture
def limits(settings: Settings) -> Payloads:
    return settings.payloads.model_copy(update={"threads": 4, "seconds": 3.0, "pause_seconds": 60.0})


def allowing(limits: Payloads, *prefixes: str) -> Payloads:
    return limits.model_copy(update={"allowed": prefixes})


def reasons(contents: list[payloads.Content]) -> list[RejectReason | None]:
    return [content.reason if isinstance(content, Rejected) else None for content in contents]


@pytest.mark.services
def test_objects_are_fetched_in_order_and_bad_ones_get_their_verdicts(
    bucket: Bucket, limits: Payloads
) -> None:
    bucket.put({f"in/{n}": b"%d" % n for n in range(30)})
    bucket.put({"in/large": bytes(MOST + 1), "in/most": bytes(MOST), "in-secret/x": b"x"})
    proxy = FaultProxy(bucket.s3.endpoint)
    with proxy.running() as endpoint:
        s3 = bucket.s3.model_copy(update={"endpoint": endpoint})
        fetcher = payloads.PayloadFetcher(allowing(limits, bucket.uri("in")), s3, MOST)
        good = fetcher.fetch([bucket.uri(f"in/{n}") for n in range(30)])
        assert good == [b"%d" % n for n in range(30)]
        large, most, missing = fetcher.fetch([bucket.uri(f"in/{name}") for name in ("large", "most", "gone")])
        assert isinstance(large, Rejected)
        assert large.reason is Reason.TOO_LARGE
        assert f"{MOST + 1} bytes, at most {MOST}" in large.detail
        assert most == bytes(MOST)
        assert isinstance(missing, Rejected)
        assert missing.reason is Reason.PAYLOAD_UNREACHABLE
        assert missing.detail == f"{bucket.uri('in/gone')}: no such object"

        asked = len(proxy.seen)
        foreign = [
            "http://127.0.0.1/x",
            endpoint,
            bucket.uri("in-secret/x"),
            bucket.uri("in/../in-secret/x"),
            bucket.uri("in/%2e%2e/in-secret/x"),
            bucket.uri("in//1"),
            bucket.uri("in/1?versionId=2"),
            f"s3://user@{bucket.name}/in/1",
            "s3://other-bucket/in/1",
            "file:///etc/passwd",
        ]
        assert reasons(fetcher.fetch(foreign)) == [Reason.PAYLOAD_UNREACHABLE] * len(foreign)
        assert len(proxy.seen) == asked


def test_nothing_is_allowed_by_default(settings: Settings, s3: S3) -> None:
    fetcher = payloads.fetcher_for(Rules.of(settings))
    (content,) = fetcher.fetch(["s3://bucket/x"])
    assert isinstance(content, Rejected)
    assert content.detail == "'s3://bucket/x' is not below a prefix in payloads.allowed"


def test_the_push_prefix_is_not_implied(settings: Settings, s3: S3) -> None:
    own = settings.model_copy(
        update={"payloads": settings.payloads.model_copy(update={"prefix": "s3://bucket/in"})}
    )
    assert reasons(payloads.fetcher_for(Rules.of(own)).fetch(["s3://bucket/in/x"])) == [
        Reason.PAYLOAD_UNREACHABLE
    ]


def test_files_below_a_folder_are_read_and_no_link_is_followed(
    limits: Payloads, s3: S3, tmp_path: Path
) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "deep", outside):
        folder.mkdir(parents=True)
    (inside / "deep" / "my cat.jpg").write_bytes(b"cat")
    (inside / "large").write_bytes(bytes(MOST + 1))
    (outside / "secret").write_bytes(b"secret")
    (inside / "link").symlink_to(outside / "secret")
    (inside / "folder").symlink_to(outside)
    os.mkfifo(inside / "pipe")
    fetcher = payloads.PayloadFetcher(allowing(limits, f"file://{inside}"), s3, MOST)
    names = ["deep/my%20cat.jpg", "large", "link", "folder/secret", "pipe", "deep", "none", "../out/secret"]
    found = fetcher.fetch([f"file://{inside}/{name}" for name in names])
    assert found[0] == b"cat"
    assert reasons(found[1:]) == [Reason.TOO_LARGE] + [Reason.PAYLOAD_UNREACHABLE] * 6
    assert reasons(fetcher.fetch([f"file://{outside}/secret"])) == [Reason.PAYLOAD_UNREACHABLE]


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_path_that_is_not_a_file_is_rejected_and_leaves_no_descriptor_open(
    kind: str, limits: Payloads, s3: S3, tmp_path: Path
) -> None:
    folder, name = tmp_path, "x"
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "folder":
            (tmp_path / "x").mkdir()
        elif kind == "pipe":
            os.mkfifo(tmp_path / "x")
        elif kind == "socket":
            listening.bind(str(tmp_path / "x"))
        else:
            folder, name = Path("/dev"), "zero"
        fetcher = payloads.PayloadFetcher(allowing(limits, f"file://{folder}"), s3, MOST)
        (first,) = fetcher.fetch([f"file://{folder}/{name}"])
        before = len(list(Path("/proc/self/fd").iterdir()))
        found = fetcher.fetch([f"file://{folder}/{name}"] * 50)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert reasons([first, *found]) == [Reason.PAYLOAD_UNREACHABLE] * 51
    assert isinstance(first, Rejected)
    error = "No such device or address" if kind == "socket" else "not a regular file"
    assert first.detail == f"file://{folder}/{name}: {error}"


def test_allowed_folder_may_itself_be_a_link(limits: Payloads, s3: S3, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_bytes(b"x")
    (tmp_path / "in").symlink_to(tmp_path / "real")
    assert payloads.PayloadFetcher(allowing(limits, f"file://{tmp_path}/in"), s3, MOST).fetch(
        [f"file://{tmp_path}/in/x"]
    ) == [b"x"]


def test_values_verdicts_and_references_keep_their_order(limits: Payloads, s3: S3, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"far")
    problem = Rejected(Reason.BAD_LABEL, "x")
    referenced = Envelope(dataref=f"file://{tmp_path}/x")
    fetcher = payloads.PayloadFetcher(allowing(limits, f"file://{tmp_path}"), s3, MOST)
    found = list(
        fetcher.contents([
            (b"near", Envelope()), (None, referenced), (None, Envelope()), (b"", Envelope()),
            (None, replace(referenced, problem=problem)), (b"near", referenced), (b"", referenced),
            (None, referenced),
        ])
    )  # fmt: skip
    assert found[:5] == [b"near", b"far", b"", b"", problem]
    assert reasons(found[5:7]) == [Reason.BAD_HEADER] * 2
    assert found[7] == b"far"


@pytest.mark.services
def test_store_that_is_busy_for_a_moment_costs_no_upload(bucket: Bucket, limits: Payloads) -> None:
    bucket.put({f"in/{n}": b"%d" % n for n in range(8)})
    refused: set[str] = set()

    def first_time(method: str, path: str) -> int | None:
        new = path not in refused
        refused.add(path)
        return 503 if new else None

    with FaultProxy(bucket.s3.endpoint, first_time).running() as endpoint:
        s3 = bucket.s3.model_copy(update={"endpoint": endpoint})
        fetcher = payloads.PayloadFetcher(allowing(limits, bucket.uri("in")), s3, MOST)
        assert fetcher.fetch([bucket.uri(f"in/{n}") for n in range(8)]) == [b"%d" % n for n in range(8)]
    assert len(refused) == 8


@pytest.mark.services
@pytest.mark.parametrize("spoil", [503, "stall", "trickle", "cut"])
def test_object_that_never_arrives_is_rejected_and_the_others_are_fetched(
    spoil: int | str, bucket: Bucket, limits: Payloads
) -> None:
    bucket.put({f"in/{n}": bytes(100) for n in range(8)})
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: spoil if path.endswith("/3") else None)
    with proxy.running() as endpoint:
        s3 = bucket.s3.model_copy(update={"endpoint": endpoint})
        fetcher = payloads.PayloadFetcher(allowing(limits, bucket.uri("in")), s3, MOST)
        begun = time.monotonic()
        found = fetcher.fetch([bucket.uri(f"in/{n}") for n in range(8)])
        assert time.monotonic() - begun < 2 * limits.seconds + 2
    assert reasons(found) == [None] * 3 + [Reason.PAYLOAD_UNREACHABLE] + [None] * 4
    assert isinstance(found[3], Rejected)
    assert bucket.uri("in/3") in found[3].detail


@pytest.mark.services
def test_invalid_answer_is_a_rejection_and_the_others_are_fetched(bucket: Bucket, limits: Payloads) -> None:
    bucket.put({f"in/{n}": bytes(100) for n in range(4)})
    odd: dict[str, Change] = {"1": chunked, "2": partial(with_header, "Last-Modified", "yesterday")}
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: odd.get(path[-1]))
    with proxy.running() as endpoint:
        s3 = bucket.s3.model_copy(update={"endpoint": endpoint})
        fetcher = payloads.PayloadFetcher(allowing(limits, bucket.uri("in")), s3, MOST)
        found = fetcher.fetch([bucket.uri(f"in/{n}") for n in range(4)])
    assert reasons(found) == [None, None, Reason.PAYLOAD_UNREACHABLE, None]
    assert found[1] == bytes(100)


def test_unexpected_error_of_one_reference_affects_no_other(
    limits: Payloads, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: ObjectStore, bucket: str, key: str, limit: int) -> bytes:
        if key == "odd":
            raise RuntimeError("nobody\nthought of this")
        if key == "lost":
            raise MemoryError
        return b"x"

    monkeypatch.setattr(ObjectStore, "read", read)
    fetcher = payloads.PayloadFetcher(allowing(limits, "s3://bucket"), s3, MOST)
    odd, good = fetcher.fetch(["s3://bucket/odd", "s3://bucket/good"])
    assert good == b"x"
    assert isinstance(odd, Rejected)
    assert odd.reason is Reason.PAYLOAD_UNREACHABLE
    assert odd.detail == "s3://bucket/odd: RuntimeError: nobody thought of this"
    with pytest.raises(MemoryError):
        fetcher.fetch(["s3://bucket/lost"])


@pytest.mark.services
def test_unavailable_store_gets_a_few_requests_and_then_a_pause(bucket: Bucket, limits: Payloads) -> None:
    """Hundreds of references are rejected in the time of a few; after the pause they are fetched again."""
    bucket.put({"in/x": b"x"})
    unavailable = True
    proxy = FaultProxy(bucket.s3.endpoint, lambda method, path: 503 if unavailable else None)
    with proxy.running() as endpoint:
        s3 = bucket.s3.model_copy(update={"endpoint": endpoint})
        own = allowing(limits, bucket.uri("in")).model_copy(update={"pause_seconds": 1.0})
        fetcher = payloads.PayloadFetcher(own, s3, MOST)
        found = fetcher.fetch([bucket.uri("in/x")] * 300)
        assert reasons(found) == [Reason.PAYLOAD_UNREACHABLE] * 300
        assert len(proxy.seen) < 100 * s3.attempts
        assert "the store is unavailable" in str(found[20])
        unavailable = False
        from tests.support.waiting import wait_until

        assert wait_until(lambda: fetcher.fetch([bucket.uri("in/x")]) == [b"x"], 10)


@pytest.mark.services
def test_missing_objects_do_not_make_the_store_count_as_unavailable(bucket: Bucket, limits: Payloads) -> None:
    bucket.put({"in/x": b"x"})
    fetcher = payloads.PayloadFetcher(allowing(limits, bucket.uri("in")), bucket.s3, MOST)
    found = fetcher.fetch([bucket.uri(f"in/none-{n}") for n in range(50)] + [bucket.uri("in/x")])
    assert found[-1] == b"x"


@pytest.mark.services
def test_store_without_a_listener_is_a_rejection_within_the_time_limit(limits: Payloads, s3: S3) -> None:
    own = s3.model_copy(update={"endpoint": f"http://127.0.0.1:{free_port()}"})
    begun = time.monotonic()
    found = payloads.PayloadFetcher(allowing(limits, "s3://bucket"), own, MOST).fetch(["s3://bucket/x"])
    assert reasons(found) == [Reason.PAYLOAD_UNREACHABLE]
    assert time.monotonic() - begun < limits.seconds + 5


@pytest.mark.services
def test_missing_credentials_are_nobodys_verdict(
    bucket: Bucket, limits: Payloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID"):
        payloads.PayloadFetcher(allowing(limits, bucket.uri()[:-1]), bucket.s3, MOST).fetch([bucket.uri("x")])


def test_unpickled_rules_get_the_same_fetcher_in_a_process(settings: Settings) -> None:
    rules = Rules.of(settings)
    assert payloads.fetcher_for(pickle.loads(pickle.dumps(rules))) is payloads.fetcher_for(rules)
