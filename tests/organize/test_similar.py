"""Similar pictures: by id and by file, and erased ones gone at once."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable
from PIL import Image

from conf.sections import Lake
from conf.settings import Settings
from lake.table import Table
from organize.errors import UnknownImage
from organize.features import network, network_file
from organize.features.embedder import embedder_of
from organize.features.vectors import STORED, to_unit
from organize.similar import find_similar, sheet
from streaming.contract.rules import Rules
from streaming.verify.preprocess import prepare
from tests.support import pictures
from tests.support.commands import Hub
from tests.web.lakes import append, sample_row, upload_row

MODEL = "efficientnet-lite0-128"
_CENTRE = np.random.default_rng(5).normal(size=1280)


def image_id(number: int) -> str:
    return str(upload_row(number)["image_id"])


def vector(number: int) -> bytes:
    """Vectors on an arc: the nearer two numbers, the more similar they are."""
    other = np.random.default_rng(6).normal(size=1280)
    angle = number / 40
    row = np.cos(angle) * _CENTRE + np.sin(angle) * other
    return to_unit(row[np.newaxis].astype(np.float32)).astype(STORED).tobytes()


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    organize = settings.organize.model_copy(update={"index_dir": tmp_path / "vectors"})
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake")), "organize": organize})


def fill(own: Settings, numbers: range) -> None:
    append(
        own, Table.UPLOADS, [upload_row(n, jpeg=pictures.jpeg(60, 48, n), thumbnail=None) for n in numbers]
    )
    append(own, Table.SAMPLES, [sample_row(n) for n in numbers])
    rows = [{"image_id": image_id(n), "model_id": MODEL, "vector": vector(n)} for n in numbers]
    append(own, Table.EMBEDDINGS, rows)


def test_the_most_similar_images_of_an_image_come_first_and_not_itself(own: Settings) -> None:
    fill(own, range(10))
    query, matches = find_similar(own, image_id(4)[:10], 3)
    assert query.image_id == image_id(4)
    assert {match.image_id for match in matches[:2]} == {image_id(3), image_id(5)}
    assert [match.similarity for match in matches] == sorted(
        (match.similarity for match in matches), reverse=True
    )
    assert matches[0].label in ("cat", "dog") and matches[0].similarity == pytest.approx(np.cos(1 / 40), 1e-3)
    assert len(find_similar(own, image_id(4), 100)[1]) == 9
    drawn = Image.open(io.BytesIO(sheet(own, query, matches)))
    assert drawn.size == (976, 40 + 174)
    assert drawn.getpixel((10 + 64, 40 + 64)) != (238, 238, 238), "the picture itself is drawn"


@pytest.mark.parametrize("table", [Table.SAMPLES, Table.EMBEDDINGS])
def test_an_erased_image_is_gone_at_once(own: Settings, table: Table) -> None:
    """An erasure deletes the sample first, and then the embedding."""
    fill(own, range(10))
    assert image_id(5) in {match.image_id for match in find_similar(own, image_id(4), 3)[1]}
    DeltaTable(own.lake.at(table)).delete(f"image_id = '{image_id(5)}'")
    assert image_id(5) not in {match.image_id for match in find_similar(own, image_id(4), 9)[1]}
    with pytest.raises(UnknownImage, match="an erased one is gone"):
        find_similar(own, image_id(5), 3)


def test_what_is_no_image_is_an_error_with_the_way_out(own: Settings, tmp_path: Path) -> None:
    with pytest.raises(UnknownImage, match="run `hub organize --once`"):
        find_similar(own, image_id(1), 3)
    fill(own, range(2))
    (tmp_path / "text.jpg").write_text("no picture")
    for image, why in (
        ("nowhere.jpg", "neither a file nor an image id"),
        ("0" * 64, "`hub organize --once` embeds new ones"),
        (str(tmp_path / "text.jpg"), "cannot be read as a picture"),
    ):
        with pytest.raises(UnknownImage, match=why) as caught:
            find_similar(own, image, 3)
        assert "\n" not in str(caught.value)


@pytest.mark.services  # it makes the network's file with TensorFlow
def test_a_file_of_an_upload_finds_that_upload(own: Settings, hub: Hub, tmp_path: Path) -> None:
    fill(own, range(3))
    file = network_file.get_or_create(own, embedder_of(own))
    content = pictures.jpeg(640, 480, 77)
    stored = prepare(content, Rules.of(own)).jpeg
    vectors = network.load(file).embed_encoded([stored])
    assert vectors[0] is not None
    append(own, Table.SAMPLES, [sample_row(50)])
    row = {"image_id": image_id(50), "model_id": MODEL, "vector": vectors[0].astype(STORED).tobytes()}
    append(own, Table.EMBEDDINGS, [row])
    (tmp_path / "photo.jpg").write_bytes(content)
    place = {"HUB__LAKE__ROOT": own.lake.root, "HUB__ORGANIZE__INDEX_DIR": str(own.organize.index_dir)}
    arguments = (str(tmp_path / "photo.jpg"), "--k", "2", "--sheet", str(tmp_path / "sheet.png"))
    done = hub("similar", *arguments, "--json", **place)
    assert done.status == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["matches"][0]["image_id"] == image_id(50) and results["matches"][0]["similarity"] > 0.98
    assert len(results["matches"]) == 2 and Image.open(results["sheet"]).format == "PNG"
    unknown = hub("similar", "nowhere.jpg", **place)
    assert unknown.status == 1 and unknown.stderr.count("\n") == 1
