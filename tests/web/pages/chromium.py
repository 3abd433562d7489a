"""A real browser for tests of pages: windows that note errors and requests to other hosts, and axe-core."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.support.commands import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
MISSING = "no chromium: `apt-get install chromium` installs it"
PHONE, DESK = (360, 780), (1440, 900)
SCREENSHOTS = os.environ.get("HUB_SCREENSHOTS")  # a folder; the README's pictures are made so
_AXE = "axe-core@4.14.1"  # MPL-2.0; npm downloads it for the tests only
_SERIOUS = ("serious", "critical")


@dataclass
class Window:
    """A page of the browser, and what went wrong on it."""

    page: "Page"
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Open a page of the hub and wait for its pictures."""
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("load")

    def shoot(self, name: str) -> None:
        """Take a picture, where somebody wants pictures."""
        if SCREENSHOTS:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def findings(self, axe: str) -> list[str]:
        """Serious findings of axe-core on the page that is open."""
        self.page.evaluate(axe)
        found: dict[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in _SERIOUS
            for node in each["nodes"][:3]
        ]

    def _note_request(self, request: "Request") -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.complaints.append(f"asks {request.url}")

    def _note_message(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.complaints.append(message.text)


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The browser of the system."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def window(
    browser: "Browser",
    url: str,
    size: tuple[int, int] = DESK,
    scheme: Literal["light", "dark"] = "light",
    touch: bool = False,
) -> Iterator[Window]:
    """A window with storage of its own."""
    view = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=view, color_scheme=scheme, has_touch=touch)  # type: ignore[arg-type]
    made = Window(context.new_page(), url)
    made.page.on("request", made._note_request)
    made.page.on("console", made._note_message)
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.page.set_default_timeout(20_000)
    yield made
    context.close()


def axe() -> str | None:
    """The source of axe-core, downloaded once by npm; None where npm or its registry is missing."""
    folder = ROOT / "build" / "axe"
    script = folder / "package" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(
            ["npm", "pack", "--silent", _AXE],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if packed.returncode:
            return None
        with tarfile.open(folder / packed.stdout.strip().splitlines()[-1]) as archive:
            archive.extract("package/axe.min.js", folder, filter="data")
    return script.read_text()
