"""The button that erases: on real tables nothing of the person is left, also while an ingestion runs."""

import re
from pathlib import Path

import httpx
import pytest

from conf.sections import Kafka, Lake
from conf.settings import Settings
from hub_client import HubClient
from lake import row_writer
from lake.table import Table
from organize.review.decisions import Kind, Wish
from tests.streaming.test_erasure import find_in_files
from tests.support import pictures
from tests.support.waiting import wait_until
from tests.web.serving import ingesting, served
from web.access.accounts import Accounts
from web.access.principal import Role
from web.decisions.votes import Votes
from web.trainings.training_request import TrainingRequest
from web.trainings.training_store import TrainingStore

pytestmark = [pytest.mark.services, pytest.mark.faults]

GONER, PASSWORD = "user-to-be-forgotten", "correct horse"


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    web = settings.web.model_copy(
        update={"dir": tmp_path / "web", "refresh_seconds": 0.2, "trainings_at_once": 0}
    )
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    changed = {"lake": Lake(root=str(tmp_path / "lake")), "kafka": kafka, "web": web, "ingest": ingest}
    own = settings.model_copy(update=changed)
    Accounts(web.dir / "accounts.db").set_person(GONER, Role.UPLOADER, PASSWORD)
    return own


def _ledger(settings: Settings) -> list[str]:
    return [row["verdict"] for row in row_writer.read(settings, Table.UPLOADS, ("verdict",))]


@pytest.mark.parametrize("goes_on", [True, False], ids=["by the ingestion", "by the server"])
def test_everything_a_person_sent_is_erased_on_request(own: Settings, tmp_path: Path, goes_on: bool) -> None:
    accounts = Accounts(own.web.dir / "accounts.db")
    keys = {user: accounts.make_key(user, f"phone-of-{user}")[1] for user in (GONER, "anna")}
    output = tmp_path / "ingest.txt"
    with served(own) as running, ingesting(own, output) as ingestion:
        with HubClient(running.url, keys[GONER]) as hub, HubClient(running.url, keys["anna"]) as other:
            for number in range(3):
                hub.upload(pictures.jpeg(seed=number), "goners-own-label")
            hub.upload(pictures.jpeg(seed=4)[:400], "cat")
            hub.upload(pictures.jpeg(seed=10), "cat")
            other.upload(pictures.jpeg(seed=10), "cat")
            other.upload(pictures.jpeg(seed=11), "cat")
            assert wait_until(lambda: len(_ledger(own)) == 7, 150), output.read_text()
            assert wait_until(lambda: len(row_writer.read(own, Table.SAMPLES, ("image_id",))) == 5, 60)
            _leave_traces(own)
            if not goes_on:
                ingestion.terminate()
                ingestion.wait(90)
            hub.upload(pictures.jpeg(seed=5), "goners-own-label", upload_id="sent-just-before")

        with httpx.Client(base_url=running.url, follow_redirects=True, timeout=60) as browser:
            browser.post("/login", data={"name": GONER, "password": PASSWORD})
            answer = browser.post("/mine/erase", data={"user": GONER}, follow_redirects=False)
            assert answer.headers["clear-site-data"] == '"cache", "storage"'
            assert "You have sent nothing yet" in browser.get("/mine").text, "hidden at once"
            done = "Your earlier uploads were erased on"
            assert wait_until(lambda: done in browser.get("/mine").text, 500), browser.get("/mine").text

        verdicts = _ledger(own)
        assert verdicts.count("erased") == 6 and verdicts.count("accepted") == 2
        needles = [GONER.encode(), f"phone-of-{GONER}".encode(), b"goners-own-label", b"sent-just-before"]
        assert find_in_files(Path(own.lake.root), needles) == []
        named = {file for file, _ in find_in_files(own.web.dir, [GONER.encode()])}
        stay = {"accounts.db", "erasures.db"}  # the account, and that it was erased
        assert named - {"tables.duckdb", "tables.duckdb.wal"} <= stay, (
            "the copies are made anew at each start"
        )
        if goes_on:
            with HubClient(running.url, keys["anna"]) as other:
                other.upload(pictures.jpeg(seed=12), "cat")
            assert wait_until(lambda: _ledger(own).count("accepted") == 3, 60), output.read_text()
            assert ingestion.poll() is None, "it goes on afterwards"
    assert not re.search("Traceback|error", output.read_text())


def _leave_traces(own: Settings) -> None:
    """A vote and a training of the person."""
    (image, *_) = row_writer.read(own, Table.SAMPLES, ("image_id",))
    votes = Votes(own.web.dir / "votes.db", 2)
    votes.vote([Wish(image["image_id"], Kind.KEEP, None)], GONER)
    votes.close()
    trainings = TrainingStore(own.web.dir / "trainings.db")
    trainings.add(TrainingRequest(labels=["cat", "dog"]), GONER)
    trainings.close()
