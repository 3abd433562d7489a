"""The upload page in a real browser: good, bad and HEIC pictures; a queue that loses and doubles nothing."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from local import state
from streaming.ingestion import Ingestion, IngestReport
from tests.support import pictures
from tests.support.media import heif
from tests.support.uploads import received
from tests.support.waiting import wait_until
from tests.web import outage
from tests.web.outage import Line
from tests.web.serving import Served, served
from web.access.accounts import Accounts
from web.access.principal import Role

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: `apt-get install chromium` installs it"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    web = settings.web.model_copy(update={"dir": tmp_path / "web", "refresh_seconds": 0.2})
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    changed = {"lake": Lake(root=str(tmp_path / "lake")), "kafka": kafka, "web": web, "ingest": ingest}
    own = settings.model_copy(update=changed)
    Accounts(own.web.dir / "accounts.db").set_person("anna", Role.REVIEWER, "correct horse")
    return own


@pytest.fixture
def phone(browser: "Browser") -> Iterator["BrowserContext"]:
    context = browser.new_context(viewport={"width": 360, "height": 780}, has_touch=True)
    yield context
    context.close()


def _log_in(page: "Page", url: str) -> list[str]:
    """Log in as anna; returns a list that collects errors of the console and requests to other hosts."""
    complaints: list[str] = []
    allowed = url, "blob:"

    def note(request: "Request") -> None:
        if not request.url.startswith(allowed):
            complaints.append(request.url)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", note)
    page.goto(f"{url}/upload")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/upload")
    return complaints


def _choose(page: "Page", label: str, *files: tuple[str, str, bytes]) -> None:
    page.get_by_label("What do they show?").fill(label)
    page.get_by_role("checkbox").check()
    payloads = [{"name": name, "mimeType": kind, "buffer": content} for name, kind, content in files]
    page.locator("input[type=file][multiple]").set_input_files(payloads)  # type: ignore[arg-type]


def _states(page: "Page") -> Counter[str]:
    """How many items are in each state; none while a page is loading."""
    from playwright.sync_api import Error

    try:
        rows = page.locator("#queue .item")
        return Counter(rows.evaluate_all("rows => rows.map(row => row.dataset.state)"))
    except Error:
        return Counter()


def test_good_bad_and_heic_pictures_are_sent_and_judged(
    spark: SparkSession, own: Settings, phone: "BrowserContext"
) -> None:
    heic = heif.still()
    page = phone.new_page()
    with served(own) as server:
        complaints = _log_in(page, server.url)
        _choose(page, "cat", ("good.jpg", "image/jpeg", pictures.jpeg(seed=1)))
        _choose(page, "cat", ("bad.jpg", "image/jpeg", pictures.jpeg(seed=2)[:300]))
        _choose(page, "dog", ("IMG_0001.HEIC", "image/heic", heic))
        _choose(page, "cat", ("notes.jpg", "image/jpeg", b"no picture at all"))
        stored = {"stored": 3, "refused": 1}
        assert wait_until(lambda: _states(page) == stored, 30), _states(page)
        records = received(own.kafka, own.kafka.topic)
        assert len(records) == 3
        assert heic in {record.value for record in records}, "HEIC arrives as it was sent"

        Ingestion(spark, own, own.kafka.bootstrap).once(IngestReport())

        judged = {"accepted": 2, "rejected": 1, "refused": 1}
        assert wait_until(lambda: _states(page) == judged, 20), _states(page)
        rejected = page.locator(".item[data-state=rejected]")
        assert "A part of the file is missing." in rejected.inner_text()
        assert "Send it again." in rejected.inner_text()
        page.goto(f"{server.url}/mine")
        assert page.locator(".item[data-state=accepted]").count() == 2
        shot = page.locator(".item img").first
        assert shot.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert complaints == []


def test_pictures_wait_on_the_phone_while_kafka_or_the_network_is_away(
    settings: Settings, own: Settings, phone: "BrowserContext"
) -> None:
    """They are sent by themselves when it is back; the page also opens without a network."""
    broker = state.running(settings.broker)
    assert broker is not None
    web = own.web.model_copy(update={"acknowledge_seconds": 3.0})
    page = phone.new_page()
    with served(own.model_copy(update={"web": web})) as server:
        complaints = _log_in(page, server.url)
        _choose(page, "cat", ("before.jpg", "image/jpeg", pictures.jpeg(seed=1)))
        assert wait_until(lambda: _states(page) == {"stored": 1}, 30), _states(page)
        with outage.stopped(broker.pid):
            _choose(page, "cat", ("broker.jpg", "image/jpeg", pictures.jpeg(seed=2)))
            page.get_by_text("the hub cannot store it right now").wait_for(timeout=30_000)
        assert wait_until(lambda: _states(page) == {"stored": 2}, 60), _states(page)

        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        phone.set_offline(True)
        page.goto(f"{server.url}/upload?batch=tuesday")
        _choose(page, "cat", ("offline.jpg", "image/jpeg", pictures.jpeg(seed=3)))
        assert wait_until(lambda: _states(page) == {"stored": 2, "waiting": 1}, 20), _states(page)
        phone.set_offline(False)
        assert wait_until(lambda: _states(page) == {"stored": 3}, 60), _states(page)
        assert complaints == []
    records = [dict(record.headers) for record in received(own.kafka, own.kafka.topic)]
    assert len({headers["ce_id"] for headers in records}) == len(records) == 3
    assert [headers.get("ce_batch") for headers in records].count(b"tuesday") == 1


@pytest.mark.faults
def test_100_uploads_survive_20_cuts_and_5_kills(
    spark: SparkSession, own: Settings, phone: "BrowserContext"
) -> None:
    """The ledger has 100 uploads, none twice, and all are in "my uploads"."""
    line, stack, over = Line(None), ExitStack(), threading.Event()
    running: list[Served] = []
    failed: list[BaseException] = []

    def start() -> None:
        running.append(stack.enter_context(served(own)))
        line.target = running[-1].address

    def trouble() -> None:
        """Cut the line 20 times, and kill the server at every fourth cut."""
        try:
            for number in range(20):
                over.wait(0.7)
                line.cut()
                if number % 4 == 0:
                    running[-1].stop(9)
                    start()
                over.wait(0.4)
                line.mend()
        except BaseException as error:  # of a thread: the test reports it
            failed.append(error)

    with stack:
        start()
        page = phone.new_page()
        _log_in(page, line.url)
        troubled = threading.Thread(target=trouble)
        troubled.start()
        for first in range(0, 100, 10):
            numbers = range(first, first + 10)
            _choose(page, "cat", *((f"{n}.jpg", "image/jpeg", pictures.jpeg(seed=n)) for n in numbers))
        assert wait_until(lambda: sum(_states(page).values()) == 100, 30)
        _reload_until_stored(page, line.url, 100, troubled)
        troubled.join(300)
        assert (failed, line.cuts, len(running)) == ([], 20, 6)

        Ingestion(spark, own, own.kafka.bootstrap).once(IngestReport())

        ledger = spark.read.format("delta").load(own.lake.at("uploads"))
        rows = ledger.select("upload_id", "verdict").collect()
        assert Counter(row.verdict for row in rows) == {"accepted": 100}
        ids = {row.upload_id for row in rows}
        assert len(ids) == 100
        assert wait_until(lambda: _my_uploads(page, line.url) == ids, 30)
    line.close()


def _reload_until_stored(page: "Page", url: str, count: int, troubled: threading.Thread) -> None:
    """Close the page and open it again in between; it goes on by itself."""
    from playwright.sync_api import Error

    deadline = time.monotonic() + 300
    reloaded = 0
    while time.monotonic() < deadline:
        states = _states(page)
        done = sum(states[state] for state in ("stored", "accepted", "rejected"))
        if done == count and not troubled.is_alive():
            return
        if reloaded < 3:
            reloaded += 1
            with suppress(Error):
                page.goto(f"{url}/upload", timeout=10_000)
        page.wait_for_timeout(1000)
        if not page.url.endswith("/upload"):
            with suppress(Error):
                page.goto(f"{url}/upload", timeout=10_000)
    raise AssertionError(f"not stored in time: {_states(page)}")


def _my_uploads(page: "Page", url: str) -> set[str]:
    """Ids of accepted uploads on all pages of "my uploads"."""
    found: set[str] = set()
    page.goto(f"{url}/mine?state=accepted")
    while True:
        sources = page.locator(".item img").evaluate_all("images => images.map(image => image.src)")
        found |= {source.split("/uploads/")[1].split("/")[0] for source in sources}
        older = page.get_by_role("link", name="Older")
        if not older.count():
            return found
        page.goto(f"{url}{older.get_attribute('href')}")
