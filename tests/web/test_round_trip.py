"""From a client to Kafka, the ledger and back: records by the contract, verdicts, no duplicates."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from hub_client import HubClient, HubRefused, UploadStatus
from local import state
from streaming.contract.envelope import parse
from streaming.contract.rules import Rules
from streaming.ingestion import Ingestion, IngestReport
from tests.support import pictures
from tests.support.uploads import received, send, upload
from tests.support.waiting import wait_until
from tests.web import outage
from tests.web.serving import Served, served
from web.access.accounts import Accounts
from web.uploads.receipts import Receipts

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    web = settings.web.model_copy(update={"dir": tmp_path / "web", "refresh_seconds": 0.2})
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    changed = {"lake": Lake(root=str(tmp_path / "lake")), "kafka": kafka, "web": web, "ingest": ingest}
    return settings.model_copy(update=changed)


@pytest.fixture
def server(own: Settings) -> Iterator[Served]:
    with served(own) as running:
        yield running


@pytest.fixture
def key(own: Settings) -> str:
    """An API key of anna's phone: with a cluster of one's own the hub is not open."""
    return Accounts(own.web.dir / "accounts.db").make_key("anna", "phone-7")[1]


Heard = list[tuple[str, UploadStatus]]


def _listen(client: HubClient, found: Heard, last: str | None = None) -> threading.Thread:
    def read() -> None:
        for event in client.verdicts(last=last):
            found.append(event)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def test_uploads_travel_to_the_ledger_and_their_verdicts_back(
    spark: SparkSession, own: Settings, key: str, server: Served
) -> None:
    good, cut = pictures.jpeg(seed=1), pictures.jpeg(seed=2)[:300]
    heard: Heard = []
    with HubClient(server.url, key) as hub:
        _listen(hub, heard)
        sent = hub.upload(good, "Crème brûlée", upload_id="one", batch="tuesday", geo="52.52,13.405")
        assert (sent.id, hub.status("one").state) == ("one", "stored")
        assert hub.upload(good, "Crème brûlée", upload_id="one") == sent, "a repeated id is no second record"
        hub.upload(cut, "cat", upload_id="two")
        with pytest.raises(HubRefused, match="bad_label"):
            hub.upload(good, "///")

        records = received(own.kafka, own.kafka.topic)
        assert len(records) == 2
        record = next(each for each in records if dict(each.headers)["ce_id"] == b"one")
        assert (record.key, record.value) == (b"phone-7", good)
        envelope = parse(record.key, record.headers, Rules.of(own))
        assert envelope.problem is None
        assert (envelope.user, envelope.device, envelope.batch) == ("anna", "phone-7", "tuesday")
        assert (envelope.label, envelope.label_name) == ("creme_brulee", "Crème brûlée")
        assert envelope.geohash == "u33dc"

        Ingestion(spark, own, own.kafka.bootstrap).once(IngestReport())

        assert wait_until(lambda: len(heard) == 2, 20), heard
        told = {status.id: status for _, status in heard}
        assert (told["one"].state, told["one"].label) == ("accepted", "creme_brulee")
        assert (told["two"].state, told["two"].reason) == ("rejected", "truncated")
        assert told["two"].todo
        assert hub.wait_for_verdict("one").picture == "/api/v1/uploads/one/picture"
        assert wait_until(lambda: _listed(hub) == {"one": "accepted", "two": "rejected"}, 20)
        assert hub.picture("one").startswith(b"\xff\xd8\xff")
        assert len(hub.picture("one", "thumbnail")) <= len(hub.picture("one"))
        with pytest.raises(HubRefused, match="404"):
            hub.picture("two")
        # The copy of `labels` may come after that of the ledger.
        assert wait_until(lambda: [row["label"] for row in hub.all("labels")] == ["creme_brulee"], 20)


def _listed(hub: HubClient) -> dict[str, str]:
    return {row["id"]: row["state"] for row in hub.all("uploads")}


def test_missed_verdicts_come_after_a_restart_of_the_server(
    spark: SparkSession, own: Settings, key: str
) -> None:
    heard: Heard = []
    with served(own) as first, HubClient(first.url, key) as hub:
        _listen(hub, heard)
        hub.upload(pictures.jpeg(seed=1), "cat", upload_id="before")
        Ingestion(spark, own, own.kafka.bootstrap).once(IngestReport())
        assert wait_until(lambda: len(heard) == 1, 20)
        hub.upload(pictures.jpeg(seed=2), "cat", upload_id="between")
    Ingestion(spark, own, own.kafka.bootstrap).once(IngestReport())  # nobody listens

    place, status = heard[0]
    assert status.id == "before"
    with served(own) as second, HubClient(second.url, key) as hub:
        later: Heard = []
        _listen(hub, later, place)
        assert wait_until(lambda: "between" in [told.id for _, told in later], 20)
        # The ledger may have told the first verdict before the topic had its record: then that comes again.
        assert {told.id for _, told in later} <= {"before", "between"}


def test_a_stored_upload_is_known_after_the_server_was_killed(own: Settings, key: str) -> None:
    with served(own) as first, HubClient(first.url, key) as hub:
        hub.upload(pictures.jpeg(seed=1), "cat", upload_id="one")
        first.stop(9)
    with served(own) as second, HubClient(second.url, key) as hub:
        assert hub.status("one").state == "stored"
        assert hub.upload(pictures.jpeg(seed=1), "cat", upload_id="one").id == "one"
        assert len(received(own.kafka, own.kafka.topic)) == 1


def test_an_upload_while_kafka_does_not_answer_is_503_and_stored_once_afterwards(
    settings: Settings, own: Settings, key: str
) -> None:
    broker = state.running(settings.broker)
    assert broker is not None
    web = own.web.model_copy(update={"acknowledge_seconds": 3.0})
    with served(own.model_copy(update={"web": web})) as running, HubClient(running.url, key) as hub:
        hub.upload(pictures.jpeg(seed=1), "cat", upload_id="one")
        with outage.stopped(broker.pid):
            begun = time.monotonic()
            with pytest.raises(HubRefused) as refused:
                hub.upload(pictures.jpeg(seed=2), "cat", upload_id="two", seconds=0)
            assert (refused.value.status, refused.value.code) == (503, "kafka_unavailable")
            assert time.monotonic() - begun < 15
            assert hub.page("labels").items == [], "the rest of the server answers"
        assert hub.upload(pictures.jpeg(seed=2), "cat", upload_id="two", seconds=60).id == "two"
    ids = [dict(record.headers)["ce_id"] for record in received(own.kafka, own.kafka.topic)]
    assert sorted(ids) == [b"one", b"two"]


def test_an_upload_whose_answer_was_lost_is_not_stored_twice(own: Settings, key: str) -> None:
    """A server that was killed had noted two attempts: the first reached Kafka, the second did not."""
    receipts = Receipts(own.web.dir / "receipts.db")
    assert receipts.begin("one") and receipts.begin("two") and not receipts.begin("two")
    receipts.close()
    one = upload(1, id="one", user="anna", device="phone-7", batch="tuesday")
    send(own.kafka, [one, upload(2, user="anna")])
    with served(own) as running, HubClient(running.url, key) as hub:
        for name in ("two", "one", "one", "two"):
            assert hub.upload(one.content or b"", "cat", upload_id=name).id == name
        assert (hub.status("one").state, hub.status("one").batch) == ("stored", "tuesday")
        assert hub.status("two").state == "stored"
    ids = [dict(record.headers)["ce_id"] for record in received(own.kafka, own.kafka.topic)]
    assert len(ids) == 3 and {b"one", b"two"} < set(ids)


def test_an_upload_that_is_sent_by_two_requests_at_once_is_stored_once(own: Settings, key: str) -> None:
    picture = pictures.jpeg(seed=1)
    with served(own) as running, HubClient(running.url, key) as hub, ThreadPoolExecutor(8) as threads:
        for name in ("one", "two", "three"):
            sent = [threads.submit(hub.upload, picture, "cat", upload_id=name) for _ in range(8)]
            assert {each.result(60).id for each in sent} == {name}
    assert len(received(own.kafka, own.kafka.topic)) == 3
