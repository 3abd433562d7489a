"""The pages in a real browser: phone and desk, light and dark, by keyboard, and without a network."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import pytest

from conf.settings import Settings
from lake import row_writer
from lake.table import Table
from tests.support.waiting import wait_until
from tests.web import worlds
from tests.web.pages import chromium
from tests.web.pages.browsers import ready
from tests.web.pages.chromium import DESK, PHONE, Window
from tests.web.pages.test_browse import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(chromium.CHROMIUM is None, reason=chromium.MISSING),
]
_PART = "/models/resnet20-ready/progress"  # of a page, which htmx asks for
_OTHERS = (
    "/review",
    "/review/log",
    "/train",
    "/try",
    "/faces",
    "/upload",
    "/mine",
    "/mine/erase",
    "/api",
    "/sql",
)
ALL_PAGES = [path for path in (*PAGES, *_OTHERS) if path != _PART]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(world: Settings) -> Iterator[str]:
    with ready(world) as running:
        yield running.url


@pytest.fixture
def own_url(own_world: Settings) -> Iterator[str]:
    with ready(own_world) as running:
        yield running.url


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        (PHONE, "light"),
        (DESK, "dark"),
        pytest.param(PHONE, "dark", marks=pytest.mark.faults),
        pytest.param(DESK, "light", marks=pytest.mark.faults),
    ],
    ids=["phone-light", "desk-dark", "phone-dark", "desk-light"],
)
def test_pages_fit_and_have_no_serious_finding(
    browser: "Browser", url: str, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    axe, wrong = chromium.axe(), {}
    with chromium.window(browser, url, size, scheme) as window:
        for path in ALL_PAGES:
            window.open(path)
            found = window.findings(axe) if axe else []
            if window.overflow() > 0:
                found.append(f"{window.overflow()} px too wide")
            if found or window.complaints:
                wrong[path] = found + window.complaints
                window.complaints.clear()
        if chromium.SCREENSHOTS:
            for path, name in (("/", "home"), ("/labels/cat", "label"), ("/review", "review")):
                window.open(path)
                window.shoot(f"{name}-{size[0]}-{scheme}")
    assert wrong == {}


def test_pictures_are_reviewed_by_keyboard_without_waiting(browser: "Browser", own_url: str) -> None:
    with chromium.window(browser, own_url) as window:
        page = window.page
        held: list[Route] = []
        page.route("**/api/v1/reviews", lambda route: held.append(route))
        window.open("/review")
        shot = page.locator("#shot")
        shot.wait_for()
        first = page.locator("#more").get_attribute("href")
        page.keyboard.press("y")
        page.wait_for_function(
            "old => document.querySelector('#more').getAttribute('href') !== old", arg=first
        )
        second = page.locator("#more").get_attribute("href")
        assert len(held) == 1, "the first decision is not answered yet, and the next picture is there"
        page.keyboard.press("c")
        page.keyboard.type("Truck")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "old => document.querySelector('#more').getAttribute('href') !== old", arg=second
        )
        assert len(held) == 1, "decisions are sent one after the other"
        assert window.complaints == []


def _decisions(settings: Settings) -> list[dict[str, object]]:
    return row_writer.read(settings, Table.DECISIONS, ("image_id", "kind", "label_after"))


def test_decisions_without_a_network_are_saved_when_it_is_back(
    browser: "Browser", own_url: str, own_world: Settings
) -> None:
    with chromium.window(browser, own_url, PHONE, touch=True) as window:
        page = window.page
        window.open("/review")
        page.locator("#shot").wait_for()
        page.context.set_offline(True)
        page.get_by_role("button", name="Yes").tap()
        page.get_by_text("not saved yet").wait_for()
        page.context.set_offline(False)
        page.reload()  # as after a phone that was switched off
        assert wait_until(lambda: len(_decisions(own_world)) == 1)
        kept = "JSON.parse(localStorage.getItem('hub-review-unsaved')).length"
        assert wait_until(lambda: page.evaluate(kept) == 0)


def test_pictures_are_selected_and_rejected_by_keyboard(
    browser: "Browser", own_url: str, own_world: Settings
) -> None:
    with chromium.window(browser, own_url) as window:
        page = window.page
        window.open("/labels/frog")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # skip to the content
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.name") == "image":
                break
        page.keyboard.press("Space")
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.value") == "none_of_these":
                break
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Undo").wait_for()
        (decision,) = _decisions(own_world)
        assert decision["kind"] == "none_of_these"


_FOCUSABLE = """() => {
  window.reached = new Set();
  const kinds = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const open = each => !each.disabled && each.type !== "hidden" && each.checkVisibility();
  window.wanted = [...document.querySelectorAll(kinds)].filter(open);
}"""
_NOTE_FOCUS = """() => {
  const at = document.activeElement;
  window.reached.add(at);
  const shown = at.closest("label.button, label.pick") ?? at;  // a hidden input shows its focus on its label
  const style = getComputedStyle(shown), own = getComputedStyle(at);
  const seen = [style, own].some(each => each.outlineStyle !== "none" || each.boxShadow !== "none");
  return seen || at === document.body ? "" : at.outerHTML.slice(0, 120);
}"""
_LEFT = """() => {
  // Radio buttons of a group are one stop of Tab; arrow keys choose among them.
  const group = each => each.type === "radio" ? `radio ${each.name}` : each;
  const reached = new Set([...window.reached].map(group));
  return window.wanted.filter(each => !reached.has(group(each))).map(each => each.outerHTML.slice(0, 120));
}"""


@pytest.mark.faults  # half a minute
def test_everything_on_each_page_is_reached_by_tab_and_shows_its_focus(browser: "Browser", url: str) -> None:
    unseen: dict[str, list[str]] = {}
    with chromium.window(browser, url) as window:
        for path in ALL_PAGES:
            window.open(path)
            window.page.evaluate(_FOCUSABLE)
            hidden = set()
            for _ in range(window.page.evaluate("window.wanted.length") + 5):
                window.page.keyboard.press("Tab")
                hidden.add(window.page.evaluate(_NOTE_FOCUS))
            found = window.page.evaluate(_LEFT) + sorted(hidden - {""})
            if found:
                unseen[path] = found
    assert unseen == {}


@pytest.mark.faults
def test_a_picture_is_sent_and_a_training_asked_for_by_keyboard_alone(
    browser: "Browser", own_world: Settings
) -> None:
    web = own_world.web.model_copy(update={"trainings_at_once": 0})
    with (
        ready(own_world.model_copy(update={"web": web})) as served,
        chromium.window(browser, served.url) as window,
    ):
        page = window.page
        window.open("/upload")
        _tab_to(window, "document.activeElement.name === 'label'")
        page.keyboard.type("frog")
        _tab_to(window, "document.activeElement.name === 'consent'")
        page.keyboard.press("Space")
        _tab_to(window, "document.activeElement.type === 'file' && document.activeElement.multiple")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        picture = {"name": "frog.jpg", "mimeType": "image/jpeg", "buffer": worlds.picture(2)}
        chooser.value.set_files([picture])  # type: ignore[arg-type]
        page.locator("#queue .item").wait_for()

        window.open("/train")
        for label in ("cat", "dog"):
            _tab_to(window, f"document.activeElement.value === '{label}'")
            page.keyboard.press("Space")
        _tab_to(window, "document.activeElement.textContent === 'Start the training'")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{served.url}/trainings/*")
        assert "It starts at once." in page.inner_text("main")


def _tab_to(window: Window, condition: str) -> None:
    for _ in range(80):
        if window.page.evaluate(condition):
            return
        window.page.keyboard.press("Tab")
    raise AssertionError(f"not reached by Tab: {condition}")


def test_the_sum_of_a_training_follows_the_chosen_labels(browser: "Browser", url: str) -> None:
    with chromium.window(browser, url, PHONE) as window:
        window.open("/train")
        status = window.page.locator("#sum")
        assert status.text_content() == "Choose at least two labels."
        window.page.get_by_label("Cat").check()
        window.page.get_by_label("Dog").check()
        assert status.text_content() == "2 labels, 48 pictures; 2 of the labels have fewer than 100 pictures"
