"""Pages as HTML: what they say on an empty and on a filled lake, their sizes, and their static files."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from conf.errors import HubError
from conf.settings import Settings
from lake.table import Table
from tests.web import lakes
from web.pages.rendering import STATIC
from web.resources.resources import Resources
from web.server import app

_PAGE_BYTES, _SCRIPT_BYTES = 150_000, 30_000
PAGES = ("/", "/upload", "/mine", "/mine/erase", "/faces", "/sql", "/api", "/login")


def _nowhere() -> str:
    raise HubError("no broker")


@pytest.fixture
def empty(own: Settings) -> Iterator[TestClient]:
    with TestClient(app.create(Resources(own, _nowhere, True)), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("path", PAGES)
def test_pages_of_an_empty_lake_say_what_to_do_next(empty: TestClient, path: str) -> None:
    page = empty.get(path)
    assert page.status_code == 200
    assert "<h1>" in page.text
    if path in ("/", "/mine"):
        assert 'href="/upload"' in page.text and "Send a picture" in page.text


def _weight(client: TestClient, path: str) -> tuple[int, int]:
    """Bytes of a page with its files, and of the hub's own scripts among them, compressed as sent."""
    page = client.get(path)
    names = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text))
    if any("upload-page.js" in name for name in names):
        names.add("/static/upload-queue.js")
    total, own = int(page.headers.get("content-length", len(page.content))), 0
    for name in names:
        answer = client.get(name)
        assert answer.status_code == 200, name
        total += int(answer.headers.get("content-length", len(answer.content)))
        if name.split("?")[0].endswith(".js") and "htmx" not in name:
            own += len(answer.content)
    return total, own


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_light(client: TestClient, path: str) -> None:
    total, own = _weight(client, path)
    assert total <= _PAGE_BYTES
    assert own <= _SCRIPT_BYTES


def test_own_scripts_are_small() -> None:
    own = [file for file in STATIC.rglob("*.js") if "htmx" not in file.name]
    assert sum(file.stat().st_size for file in own) <= 3 * _SCRIPT_BYTES


def test_home_counts_what_came_in(client: TestClient) -> None:
    page = client.get("/").text
    assert re.search(r"<dt>uploads</dt><dd>33</dd>", page)
    assert "90.9 %" in page
    assert "truncated" in page and "Dog" in page
    assert "This hub is open without a login" in page


def test_the_form_suggests_labels_but_no_groups_of_labels(client: TestClient) -> None:
    page = client.get("/upload", params={"batch": "tuesday"}).text
    assert '<option value="Cat">Animal</option>' in page
    assert '<option value="Animal">' not in page
    assert 'name="batch" value="tuesday"' in page
    assert "CC BY 4.0" in page


def test_values_of_uploads_are_escaped(own: Settings) -> None:
    evil = '<script>alert("x")</script>'
    rows = [
        lakes.upload_row(0, user="local", label_name=evil, batch=evil, device=evil),
        lakes.rejected_row(1, "bad_label", user="local", label_name=evil, detail=evil),
    ]
    lakes.append(own, Table.UPLOADS, rows)
    lakes.append(own, Table.LABELS, [{"label": "x", "display_name": evil, "accepted": 1, "ready": False}])
    resources = Resources(own, _nowhere, True)
    with TestClient(app.create(resources), base_url="http://localhost") as client:
        assert resources.freshness.ready.wait(20)
        for path in ("/", "/mine", "/upload", "/sql?q=SELECT+batch+FROM+uploads", f"/nowhere/{evil}"):
            page = client.get(path, headers={"accept": "text/html"}).text
            assert "<script>alert" not in page, path


def test_my_uploads_have_tabs_pages_and_advice(own: Settings) -> None:
    rows = [lakes.upload_row(n, user="local") for n in range(60)]
    again = lakes.rejected_row(61, "duplicate_upload", user="local", upload_id=rows[1]["upload_id"])
    lakes.append(own, Table.UPLOADS, [*rows, lakes.rejected_row(60, "too_small", user="local"), again])
    resources = Resources(own, _nowhere, True)
    with TestClient(app.create(resources), base_url="http://localhost") as client:
        assert resources.freshness.ready.wait(20)
        first = client.get("/mine").text
        assert first.count('class="item"') == 48
        older = re.search(r'href="(/mine\?[^"]*after=[^"]+)"', first)
        assert older is not None
        second = client.get(older.group(1).replace("&amp;", "&")).text
        assert second.count('class="item"') == 13
        rejected = client.get("/mine?state=rejected").text
        assert rejected.count('class="item"') == 1
        assert "The picture is too small." in rejected
        assert client.get("/mine?state=stored").text.count('class="item"') == 0
        assert client.get("/mine?state=lost").status_code == 422


def test_an_erasure_hides_everything_at_once_and_survives_a_restart(own: Settings) -> None:
    lakes.append(own, Table.UPLOADS, [lakes.upload_row(n, user=("local", "anna")[n % 2]) for n in range(6)])
    resources = Resources(own, _nowhere, True)
    with TestClient(app.create(resources), base_url="http://localhost") as client:
        assert resources.freshness.ready.wait(20)
        assert "Erase everything I sent" in client.get("/mine/erase").text
        client.post("/mine/erase", data={"user": "somebody else"})
        assert len(client.get("/api/v1/uploads").json()["items"]) == 6
        page = client.post("/mine/erase", data={"user": "local"})
        assert "being erased" in page.text
        assert {row["user"] for row in client.get("/api/v1/uploads").json()["items"]} == {"anna"}
    again = Resources(own, _nowhere, True)
    with TestClient(app.create(again), base_url="http://localhost") as client:
        assert again.freshness.ready.wait(20)
        assert {row["user"] for row in client.get("/api/v1/uploads").json()["items"]} == {"anna"}
        assert "being erased" in client.get("/mine").text


def test_csv_has_no_formulas(client: TestClient) -> None:
    answer = client.get("/sql.csv", params={"q": "SELECT '=1+1' AS a, 'b,c' AS b, 1.5 AS c, NULL AS d"})
    assert answer.text.splitlines() == ["a,b,c,d", '\'=1+1,"b,c",1.5,']
    assert answer.headers["content-disposition"] == 'attachment; filename="answer.csv"'
    wrong = client.get("/sql.csv", params={"q": "SELEC"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_statement")


def test_static_files_have_fixed_types_and_addresses_that_may_be_kept(client: TestClient) -> None:
    page = client.get("/").text
    (style,) = re.findall(r'href="(/static/hub.css\?v=\w+)"', page)
    answer = client.get(style)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/hub.css").headers["cache-control"] == "no-cache"
    worker = client.get("/static/upload-worker.js").headers
    assert worker["service-worker-allowed"] == "/upload"
    assert "service-worker-allowed" not in answer.headers
    for path in ("/static/../rendering.py", "/static/%2e%2e/rendering.py", "/static/nothing.js", "/static/"):
        assert client.get(path).status_code == 404


def test_templates_use_no_inline_code() -> None:
    for file in Path(STATIC).with_name("templates").rglob("*.html"):
        text = file.read_text()
        assert not re.search(r"\son\w+=|\sstyle=|hx-on|javascript:|<style|https?://", text), file
        assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", text)), file
