"""The whole walk through the pages in a real browser: pictures are sent and judged, a label is corrected, two
workers train a model, it is tried, told what is right, and downloaded. A real broker, `hub ingest` and
`hub train` run."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ai_edge_litert.interpreter import Interpreter

from conf.sections import Kafka, Lake
from conf.settings import Settings
from hub_client import HubClient
from lake import row_writer
from lake.table import Table
from models.pictures import inputs
from models.registry import model_cards
from models.registry.model_cards import State
from streaming import topics
from tests.support.media import heif
from tests.support.waiting import wait_until
from tests.web import worlds
from tests.web.pages import chromium
from tests.web.pages.chromium import DESK, PHONE, Window
from tests.web.serving import Served, ingesting, served
from web.access.accounts import Accounts
from web.access.principal import Role

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.services,
    pytest.mark.faults,
    pytest.mark.skipif(chromium.CHROMIUM is None, reason=chromium.MISSING),
]

PASSWORD = "correct horse"
KINDS = len(worlds.LABELS)
CAT, DOG = worlds.LABELS.index("cat"), worlds.LABELS.index("dog")
PICTURES = 36  # of each label
WRONG = (KINDS * 500 + DOG, KINDS * 501 + DOG)  # dogs that were sent as cats; each walk finds one
EPOCHS = 60  # of a fraction of a second


@pytest.fixture(scope="module")
def own(settings: Settings, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake, topics and a web folder of this module, with an account for anna."""
    folder = tmp_path_factory.mktemp("walk")
    names = {"topic": "walk", "rejected_topic": "walk.rejected", "verdicts_topic": "walk.verdicts"}
    kafka: Kafka = settings.kafka.model_copy(update=names | {"bootstrap": broker})
    topics.create(kafka, broker)
    changed = {
        "lake": Lake(root=str(folder / "lake")),
        "kafka": kafka,
        "web": settings.web.model_copy(update={"dir": folder / "web", "refresh_seconds": 0.2}),
        "ingest": settings.ingest.model_copy(update={"index_dir": folder / "index"}),
        "labels": settings.labels.model_copy(update={"ready_images": 30}),
    }
    own = settings.model_copy(update=changed)
    Accounts(own.web.dir / "accounts.db").set_person("anna", Role.ADMIN, PASSWORD)
    return own


@pytest.fixture(scope="module")
def hub(own: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server and a running ingestion, with pictures of cats and dogs, some dogs among the cats."""
    _, key = Accounts(own.web.dir / "accounts.db").make_key("bert", "phone-1")
    cats = [(worlds.picture(KINDS * n + CAT), "cat") for n in range(PICTURES)]
    dogs = [(worlds.picture(KINDS * n + DOG), "dog") for n in range(PICTURES)]
    with (
        ingesting(own, tmp_path_factory.mktemp("output") / "ingest") as ingestion,
        served(own) as running,
        HubClient(running.url, key) as client,
    ):
        for content, label in cats + dogs + [(worlds.picture(n), "cat") for n in WRONG]:
            client.upload(content, label)
        yield running
        assert ingestion.poll() is None, "it still runs"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium.chromium() as browser:
        yield browser


@pytest.mark.parametrize(("size", "walk"), [(PHONE, 0), (DESK, 1)], ids=["phone", "desk"])
def test_from_a_picture_to_a_model_on_the_phone(
    own: Settings, hub: Served, browser: "Browser", size: tuple[int, int], walk: int, tmp_path: Path
) -> None:
    with chromium.window(browser, hub.url, size, touch=size == PHONE) as window:
        _log_in(window)
        _send_and_see_verdicts(window, walk)
        _find_them(window)
        _correct_a_label(window, own, WRONG[walk])
        model_id = _train_and_watch(window, walk)
        assert model_cards.any_card(own, model_id).state is State.READY
        assert model_cards.any_card(own, model_id).workers == 2
        picture = tmp_path / "dog.jpg"
        picture.write_bytes(worlds.picture(KINDS * (700 + walk) + DOG))
        seen = _try(window, model_id, picture)
        _say_it_is_wrong(window, own, picture)
        labels = model_cards.any_card(own, model_id).labels
        file = _download(window, model_id, tmp_path / "model.tflite")
        probabilities = dict(zip(labels, _run_lite(file, picture), strict=True))
        assert probabilities == pytest.approx(seen, abs=0.1), "the page and the phone see the same"
        assert window.complaints == []


def _log_in(window: Window) -> None:
    page = window.page
    window.open("/upload")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{window.url}/upload")


def _send_and_see_verdicts(window: Window, walk: int) -> None:
    """A good, a bad and a HEIC picture; each gets its verdict while the page is open."""
    page = window.page
    good, cut = worlds.picture(KINDS * (600 + walk) + CAT), worlds.picture(KINDS * (610 + walk) + CAT)[:2500]
    for label, *file in (
        ("cat", "good.jpg", "image/jpeg", good),
        ("cat", "bad.jpg", "image/jpeg", cut),
        ("dog", "IMG_0001.HEIC", "image/heic", heif.still()),
    ):
        name, kind, content = file
        page.get_by_label("What do they show?").fill(label)
        page.get_by_role("checkbox").check()
        payload: Any = [{"name": name, "mimeType": kind, "buffer": content}]
        page.locator("input[type=file][multiple]").set_input_files(payload)
    accepted, rejected = (page.locator(f".item[data-state={state}]") for state in ("accepted", "rejected"))
    assert wait_until(lambda: (accepted.count(), rejected.count()) == (2, 1), 120)
    assert "Send it again." in rejected.inner_text()
    assert window.overflow() <= 0
    window.shoot(f"verdicts-{window.page.evaluate('innerWidth')}")


def _find_them(window: Window) -> None:
    """The pictures are in the lists, once the copy of the tables has them."""
    page = window.page

    cats = page.locator("table.tree a[href='/labels/cat']")

    def are_listed() -> bool:
        window.open("/labels")
        return cats.count() == 1 and page.locator("table.tree a[href='/labels/dog']").count() == 1

    assert wait_until(are_listed, 60), page.inner_text("main")
    cats.click()
    first = page.locator(".tile img").first
    first.wait_for()
    assert first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    window.open("/rejected")
    assert page.get_by_text("truncated").count()
    window.open("/mine")
    assert page.locator(".item[data-state=rejected]").count() == 1 + (page.locator(".item").count() > 3)


def _correct_a_label(window: Window, own: Settings, number: int) -> None:
    """Skip to a dog among the cats, and call it a dog."""
    page, image_id = window.page, hashlib.sha256(worlds.picture(number)).hexdigest()
    assert wait_until(lambda: _sample(own, image_id) == ("cat", "claimed"), 60)
    window.open("/review?label=cat&unchecked=true")
    shown = page.locator("#more")
    page.locator("#shot").wait_for()
    for _ in range(3 * PICTURES):
        if str(shown.get_attribute("href")).endswith(image_id):
            break
        page.get_by_role("button", name="Skip").click()
    else:
        raise AssertionError("the review does not show the picture")
    page.get_by_label("Another label").fill("dog")
    page.get_by_role("button", name="Change").click()
    assert wait_until(lambda: _sample(own, image_id) == ("dog", "corrected"), 30)


def _sample(own: Settings, image_id: str) -> tuple[object, object] | None:
    if row_writer.read(own, Table.SAMPLES, ("image_id",)) == []:
        return None
    rows = row_writer.read(own, Table.SAMPLES, ("label", "label_source"), f"image_id = '{image_id}'")
    return (rows[0]["label"], rows[0]["label_source"]) if rows else None


def _train_and_watch(window: Window, walk: int) -> str:
    """Start a training of two workers and wait for its end; its curves grow meanwhile. The model's id."""
    page = window.page
    window.open("/train")
    for label in ("cat", "dog"):
        page.locator(f"input[name=label][value={label}]").check()
    page.get_by_label("Epochs").fill(str(EPOCHS + walk))
    assert page.get_by_label("Workers").input_value() == "2"
    page.get_by_role("button", name="Start the training").click()
    page.wait_for_url(f"{window.url}/trainings/*")
    lengths: set[int] = set()
    deadline = time.monotonic() + 400
    while (state := _training_state(page)) in ("queued", "running", ""):
        assert time.monotonic() < deadline, page.inner_text("main")
        if state == "running" and _points(page) not in lengths:
            lengths.add(_points(page))
            window.shoot(f"training-{page.evaluate('innerWidth')}")
        page.wait_for_timeout(300)
    assert state == "done", page.inner_text("main")
    assert len(lengths - {0}) >= 2, f"the curves did not move: {lengths}"
    assert _points(page) == EPOCHS + walk
    assert window.overflow() <= 0
    page.get_by_role("link", name="Try it").click()
    page.wait_for_url(f"{window.url}/try?model=*")
    return page.url.partition("model=")[2]


def _training_state(page: "Page") -> str:
    """State of the training on the page; empty while htmx changes it."""
    return str(page.evaluate("document.querySelector('#training')?.dataset.state ?? ''"))


def _points(page: "Page") -> int:
    """Points of the longest curve on the page."""
    lines = "[...document.querySelectorAll('#training polyline')].map(line => line.getAttribute('points'))"
    return max((len(str(line).split()) for line in page.evaluate(lines)), default=0)


def _try(window: Window, model_id: str, picture: Path) -> dict[str, float]:
    """Labels and probabilities that the page shows for a picture; similar pictures are beside them."""
    page = window.page

    def is_listed() -> bool:
        window.open(f"/try?model={model_id}")
        return page.locator(f"#model option[value='{model_id}']").count() == 1

    assert wait_until(is_listed, 20), "once the copy of the tables has it"
    assert page.locator("#model").input_value() == model_id
    page.locator(".taker input:not([capture])").set_input_files(picture)
    page.locator("#answer").wait_for(timeout=60_000)
    assert page.get_by_text(f"says {model_id}").count() == 1
    page.locator("#similar .tile img").first.wait_for()
    window.shoot(f"try-{page.evaluate('innerWidth')}")
    bars = page.locator("#labels li").all()
    return {
        bar.locator("span").first.inner_text(): float(str(bar.locator("progress").get_attribute("value")))
        for bar in bars
    }


def _say_it_is_wrong(window: Window, own: Settings, picture: Path) -> None:
    """The tried picture becomes an upload with the label that the person gives."""
    page, image_id = window.page, hashlib.sha256(picture.read_bytes()).hexdigest()
    assert _sample(own, image_id) is None, "a picture that is only tried is not stored"
    form = page.locator("#wrong")
    form.get_by_label("What is it?").fill("dog")
    form.get_by_role("button").click()
    assert form.locator("input:invalid").get_attribute("name") == "consent", "nothing is sent without consent"
    form.get_by_role("checkbox").check()
    form.get_by_role("button").click()
    page.get_by_text("it is on its way").wait_for()
    assert wait_until(lambda: _sample(own, image_id) == ("dog", "claimed"), 60)
    (row,) = row_writer.read(own, Table.UPLOADS, ("batch", "user"), f"image_id = '{image_id}'")
    assert (row["batch"], row["user"]) == ("corrections", "anna")
    window.open("/mine")
    newest = page.locator(".item").first
    assert newest.get_attribute("data-state") == "accepted" and "dog" in newest.inner_text()


def _download(window: Window, model_id: str, target: Path) -> Path:
    page = window.page
    window.open(f"/models/{model_id}")
    assert window.overflow() <= 0
    with page.expect_download() as waited:
        page.get_by_role("link", name="TFLite", exact=False).first.click()
    waited.value.save_as(target)
    return target


def _run_lite(file: Path, picture: Path) -> list[float]:
    """The probability of each label, with LiteRT alone, as an app on a phone runs it."""
    interpreter = Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    _, side, _, _ = into["shape"]
    pixels = inputs.decode_centre_crop(picture.read_bytes(), int(side))
    interpreter.set_tensor(into["index"], pixels[None].astype(into["dtype"]))
    interpreter.invoke()
    found: list[float] = interpreter.get_tensor(out["index"])[0].tolist()
    return found
