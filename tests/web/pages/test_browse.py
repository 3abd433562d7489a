"""Pages to browse: each shows what the tables have, keeps its state in the address, and shows no markup of
uploads."""

import html
import io
import re
import tarfile

import pytest
from fastapi.testclient import TestClient

from conf.settings import Settings
from lake.snapshot import MANIFEST
from tests.web import worlds
from tests.web.pages.browsers import browser
from web.data.mirror import Mirror

PAGES = (
    "/", "/labels", "/labels/cat", "/labels/animal", "/pictures", "/batches", "/batches/walk-1", "/rejected",
    "/datasets", "/datasets/dataset-one", "/datasets/compare?a=dataset-one&b=dataset-two", "/models",
    "/models/resnet20-ready", "/models/resnet20-failed",
    "/models/compare?id=resnet20-ready&id=resnet20-second",
    "/models/resnet20-ready/mistakes?label=cat&predicted=dog", "/models/resnet20-ready/progress",
)  # fmt: skip
MAX_BYTES = 150_000


def _images(page: str) -> list[str]:
    return re.findall(r'href="/pictures/([0-9a-f]{64})"', page)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_small_and_has_no_code_in_it(site: TestClient, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) <= MAX_BYTES
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|hx-on", answer.text)
    assert not re.search(r'(src|href|action)="(https?:)?//', answer.text), "it asks another host"


def test_uploads_cannot_put_markup_into_a_page(site: TestClient) -> None:
    page = site.get("/rejected?reason=bad_label").text
    assert html.escape("<b>no markup of uploads</b>") in page
    assert "<b>no markup" not in page


def test_labels_are_a_tree_with_their_pictures(site: TestClient) -> None:
    page = site.get("/labels").text
    order = [
        page.index(f">{name}</a>") for name in ("Animal", "Cat", "Dog", "Frog", "Vehicle", "Car", "Truck")
    ]
    assert order == sorted(order)
    assert page.count('<span class="soft">76</span>') == 5


def test_near_duplicates_are_stacked_and_open_as_a_group(site: TestClient) -> None:
    page = site.get("/labels/cat").text
    stacks = re.search(r'group=([^"]+)" title="(\d) near duplicates"', page)
    assert stacks is not None
    group, number = stacks.groups()
    assert len(set(_images(site.get(f"/pictures?group={group}").text))) >= int(number)


def test_a_filter_stands_in_the_address_and_in_the_form(site: TestClient) -> None:
    page = site.get("/labels/cat?quality=doubtful&device=&flag=").text
    assert '<option value="doubtful" selected>' in page
    assert len(set(_images(page))) == 2
    assert "dog?" in page
    assert site.get("/labels/cat?quality=wrong").status_code == 422


def test_pages_of_a_label_show_each_picture_once(
    own_world: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.pages.browse.labels._LIMIT", 2)
    with browser(own_world) as client:
        shown: list[str] = []
        address: str | None = "/labels/frog"
        while address:
            page = client.get(address).text
            shown += dict.fromkeys(_images(page))
            found = re.search(r'rel="next" href="([^"]+)"', page)
            address = html.unescape(found.group(1)) if found else None
    assert len(shown) == len(set(shown)) == 6


def test_a_picture_is_kept_by_browsers_until_it_changes(site: TestClient) -> None:
    page = site.get("/labels/cat").text
    (address, *_) = map(html.unescape, re.findall(r'<img src="(/api/v1/uploads/[^"]+)"', page))
    answer = site.get(address)
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    again = site.get(address, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_rejected_pictures_are_encoded_again(site: TestClient, world_mirror: Mirror) -> None:
    rows = world_mirror.rows("SELECT upload_id, reason FROM uploads WHERE verdict = 'rejected' ORDER BY 1")
    kinds = {row["reason"]: site.get(f"/rejected/{row['upload_id']}/preview") for row in rows}
    assert kinds["truncated"].headers["content-type"] == "image/jpeg"
    assert kinds["truncated"].content != worlds.picture(0)[:3000]
    assert kinds["bad_label"].headers["content-type"] == "image/svg+xml"
    assert b"alert" not in kinds["bad_label"].content
    assert site.get("/rejected/upload-000001/preview").status_code == 404, "an accepted upload has no preview"


def test_a_dataset_downloads_as_a_tar_of_its_files(site: TestClient) -> None:
    content = site.get("/datasets/dataset-one/download").content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
        assert f"dataset-one/{MANIFEST}" in names
        assert sum(name.endswith(".parquet") for name in names) >= 3


def test_the_difference_of_datasets_counts_added_pictures(site: TestClient) -> None:
    page = site.get("/datasets/compare?a=dataset-one&b=dataset-two").text
    assert "<h2>Added: 30</h2>" in page
    assert "<h2>Removed" not in page


def test_a_cell_of_the_confusion_matrix_opens_its_pictures(site: TestClient) -> None:
    page = site.get("/models/resnet20-ready").text
    cells = re.findall(r'<a href="(/models/[^"]+/mistakes[^"]+)">(\d+)</a></td>', page)
    assert cells
    for address, number in cells:
        opened = site.get(html.unescape(address)).text
        assert len(set(_images(opened))) == int(number)


def test_model_files_are_downloaded_under_their_names(site: TestClient) -> None:
    answer = site.get("/models/resnet20-ready/files/tflite")
    assert answer.content == b"TFL3 of tests"
    assert 'filename="resnet20-ready-model.tflite"' in answer.headers["content-disposition"]
    with tarfile.open(
        fileobj=io.BytesIO(site.get("/models/resnet20-ready/files/savedmodel").content)
    ) as archive:
        assert archive.getnames() == ["resnet20-ready/saved_model/saved_model.pb"]
    assert site.get("/models/resnet20-ready/files/tflite-int8").status_code == 404
    assert site.get("/models/resnet20-failed/files/tflite").status_code == 404
    assert site.get("/models/..%2Fdatasets/files/tflite").status_code == 404


def test_a_failed_model_says_why_and_what_to_do(site: TestClient) -> None:
    page = site.get("/models/resnet20-failed").text
    assert "worker 1 ran out of memory" in page
    assert "/train?again=resnet20-failed" in page


@pytest.mark.parametrize(
    "path", ["/labels/nothing", "/pictures/0", "/batches/no", "/datasets/no", "/models/no"]
)
def test_an_unknown_address_is_a_page_with_the_way_out(site: TestClient, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code == 404
    assert 'href="/"' in answer.text


def test_pages_of_an_empty_lake_say_what_to_do(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    lake = settings.lake.model_copy(update={"root": str(folder / "lake")})
    web = settings.web.model_copy(update={"dir": folder / "web"})
    with browser(settings.model_copy(update={"lake": lake, "web": web})) as client:
        for path, way in {
            "/": "/upload", "/labels": "/upload", "/batches": "/upload", "/pictures": "/upload",
            "/datasets": "/train", "/models": "/train", "/train": "/upload", "/try": "/train",
        }.items():  # fmt: skip
            page = client.get(path).text
            assert f'class="button primary" href="{way}"' in page, path
        assert "Nothing was rejected" in client.get("/rejected").text
        assert "No model to try yet" in client.get("/try").text
