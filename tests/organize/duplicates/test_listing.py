"""`hub duplicates`: what it lists, draws and refuses, on a lake that was written without Spark."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from conf.sections import Lake
from conf.settings import Settings
from jobs.duplicates import main
from lake.pictures.pixels import encode_jpeg
from lake.table import Table
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.listing import list_groups
from tests.support.media import scenes
from tests.web import lakes

# Images 0 to 4 are a group of cats and dogs, 10 and 11 another; 20 left its group.
_GROUPS = dict.fromkeys(range(5), "g-large") | {10: "g-b", 11: "g-b", 20: "g-c"}


def image_id(number: int) -> str:
    return str(lakes.upload_row(number)["image_id"])


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    sizes = {0: (640, 480), 1: (320, 240), 2: (640, 480), 10: (500, 400)}
    uploads = []
    for number in _GROUPS:
        width, height = sizes.get(number, (640, 480))
        thumbnail = encode_jpeg(scenes.resized(scenes.scene(number // 10)), 90)
        uploads.append(lakes.upload_row(number, width=width, height=height, thumbnail=thumbnail))
    lakes.append(own, Table.UPLOADS, uploads)
    lakes.append(own, Table.SAMPLES, [lakes.sample_row(number) for number in _GROUPS])
    rows: list[dict[str, Any]] = [
        {
            "image_id": image_id(number),
            "group_id": group_id,
            "relation": "mirrored" if number == 3 else "resized",
            "matched_image": image_id(0),
        }
        for number, group_id in _GROUPS.items()
    ]
    lakes.append(own, Table.GROUPS, rows)
    pairs = [(0, 10, 0.9, 30.0), (0, 1, 0.99, 30.0), (0, 11, 0.86, 9.0)]
    lakes.append(own, Table.DUPLICATE_PAIRS, [_pair(*pair) for pair in pairs])
    return own


def _pair(one: int, other: int, correlation: float, significance: float) -> dict[str, Any]:
    first, second = sorted((image_id(one), image_id(other)))
    values = {"relation": "cropped", "correlation": correlation, "significance": significance}
    return {"first": first, "second": second, **values}


def test_groups_are_listed_from_the_largest_with_the_best_copy_first(own: Settings) -> None:
    listing = list_groups(own, 10)
    assert [(group.group_id, len(group.members)) for group in listing.groups] == [("g-large", 5), ("g-b", 2)]
    assert (listing.total, listing.images) == (2, 7)
    large = listing.groups[0]
    assert large.relation is Relation.MIRRORED
    assert [member.ranked.rank for member in large.members] == [1, 2, 3, 4, 5]
    assert large.members[-1].ranked.copy.image_id == image_id(1)
    assert large.members[-1].ranked.why == "smaller (320×240)"


def test_near_duplicates_in_different_groups_are_counted(own: Settings) -> None:
    assert list_groups(own, 10).cut == 1


@pytest.mark.parametrize(
    ("label", "relation", "found"),
    [
        ("cat", None, {"g-large", "g-b"}),
        (None, Relation.MIRRORED, {"g-large"}),
        (None, Relation.EXACT, set()),
    ],
)
def test_groups_can_be_filtered(
    own: Settings, label: str | None, relation: Relation | None, found: set[str]
) -> None:
    listing = list_groups(own, 10, label, relation)
    assert {group.group_id for group in listing.groups} == found


def run(own: Settings, *arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments), env={"HUB__LAKE__ROOT": own.lake.root})


def test_the_command_answers_in_json_and_in_words(own: Settings) -> None:
    answer = json.loads(run(own, "--json").stdout)
    assert {"group_id", "relation", "images"} <= set(answer["groups"][0])
    assert {"image_id", "rank", "why"} <= set(answer["groups"][0]["images"][0])
    assert (answer["total_groups"], answer["not_joined"]) == (2, 1)
    text = run(own, "--limit", "1").stdout
    assert "g-large: 5 images (4 resized, 1 mirrored)" in text
    assert "2 groups of 7 images, the 1 largest are listed" in text


def test_the_contact_sheet_shows_the_pictures_of_the_groups(own: Settings, tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    result = run(own, "--sheet", str(file))
    assert result.exit_code == 0, result.output
    with Image.open(io.BytesIO(file.read_bytes())) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width == 1044
        colours = sheet.convert("RGB").crop((12, 92, 172, 252)).getcolors(160 * 160)
    assert colours is not None and len(colours) > 1000


def test_an_unknown_label_and_a_file_that_cannot_be_written_are_errors(own: Settings, tmp_path: Path) -> None:
    unknown = run(own, "--label", "zebra")
    assert isinstance(unknown.exception, Exception) and "--label zebra: no image" in str(unknown.exception)
    unwritable = run(own, "--sheet", str(tmp_path / "missing" / "sheet.png"))
    assert "cannot be written: No such file" in str(unwritable.exception)


def test_a_lake_without_groups_has_an_empty_list(settings: Settings, tmp_path: Path) -> None:
    empty = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "none"))})
    listing = list_groups(empty, 10)
    assert (listing.groups, listing.total, listing.cut, listing.calibration) == ((), 0, 0, None)
    assert "run `hub organize --once`" in run(empty).stdout
