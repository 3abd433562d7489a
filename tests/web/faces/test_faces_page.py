"""The page of faces in a real browser: faces framed, names beside them, two pictures compared."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conf.settings import Settings
from tests.support import tiny
from tests.web.faces.drawn_faces import PEOPLE, portrait, side_by_side
from tests.web.pages import chromium
from tests.web.pages.browsers import ready
from tests.web.pages.chromium import PHONE, Window

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(chromium.CHROMIUM is None, reason=chromium.MISSING),
]


@pytest.fixture(scope="module")
def window(people: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    web = people.web.model_copy(update={"dir": tmp_path_factory.mktemp("web")})
    with (
        ready(people.model_copy(update={"web": web})) as running,
        chromium.chromium() as browser,
        chromium.window(browser, running.url, PHONE) as window,
    ):
        yield window


def _picture(folder: Path, name: str, rgb: np.ndarray) -> str:
    file = folder / f"{name}.jpg"
    file.write_bytes(tiny.jpeg(rgb))
    return str(file)


def test_faces_are_framed_and_compared(window: Window, tmp_path: Path) -> None:
    page, axe = window.page, chromium.axe()
    two = side_by_side(portrait(PEOPLE["ada"], 1001, 240), portrait(PEOPLE["cem"], 1002, 240))
    window.open("/faces")
    page.get_by_label("Choose a picture").set_input_files(_picture(tmp_path, "two", two))
    page.get_by_text("2 faces.").wait_for(timeout=60_000)  # the first time the dataset is measured
    assert page.locator("#first rect").count() == 2
    told = page.locator("#first ol").inner_text()
    assert "probably ada (distances ada 0." in told and "probably cem (distances cem 0." in told
    assert window.overflow() <= 0
    assert axe is None or window.findings(axe) == []

    page.get_by_label("Choose a picture").set_input_files(
        _picture(tmp_path, "ada", portrait(PEOPLE["ada"], 1003))
    )
    page.get_by_text("1 face.").wait_for()
    page.get_by_label("Compare with another").set_input_files(
        _picture(tmp_path, "again", portrait(PEOPLE["ada"], 1004))
    )
    page.get_by_text("probably the same person").wait_for()
    page.get_by_label("Compare with another").set_input_files(
        _picture(tmp_path, "ben", portrait(PEOPLE["ben"], 1004))
    )
    page.get_by_text("probably two people").wait_for()
    assert page.locator("#second rect").count() == 1
    assert window.overflow() <= 0
    assert axe is None or window.findings(axe) == []

    page.get_by_label("Compare with another").set_input_files(
        _picture(tmp_path, "nobody", np.full((120, 120, 3), 99, np.uint8))
    )
    page.get_by_text("the second picture has no face").wait_for()
    refused = [each for each in window.complaints if "422" not in each]  # the browser notes that answer
    assert refused == []
