"""Dataset cards: Markdown for people, Croissant 1.0 for machines, a sheet of sample pictures."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conf.sections import Lake
from conf.settings import Settings
from lake.snapshot import DatasetSnapshot, Split
from organize.datasets import catalogue
from organize.datasets.cards import card
from organize.datasets.cards.croissant import CONFORMS_TO
from organize.datasets.cards.facts import DatasetFacts, known_problems
from organize.datasets.cards.markdown import front_matter
from organize.datasets.cards.sample_sheet import sample_sheet
from tests.support import tiny

DATASET = "ds-card"


@pytest.fixture(scope="module")
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    plan = settings.organize.model_copy(update={"license": "CC-BY-4.0"})
    lake = Lake(root=str(tmp_path_factory.mktemp("cards") / "lake"))
    own = settings.model_copy(update={"lake": lake, "organize": plan})
    tiny.snapshot(own, DATASET, (40, 6, 5), shard_rows=16)
    return own


@pytest.fixture(scope="module")
def files(own: Settings) -> dict[str, bytes]:
    return dict(card.card(own, DATASET))


def test_the_text_has_counts_licence_settings_and_problems(files: dict[str, bytes]) -> None:
    text = files["README.md"].decode()
    assert text.startswith("# Dataset ds-card\n\n51 labelled pictures of 4 labels")
    assert "License: CC-BY-4.0." in text
    assert "| across | 10 | 2 | 2 | 14 |" in text and "| **all** | 40 | 6 | 5 | 51 |" in text
    assert "![Sample pictures of each label](samples.jpg)" in text
    for heading in ("Counts", "Sources", "Left out", "Known problems", "How it was made"):
        assert f"\n## {heading}\n" in text


def test_croissant_has_the_properties_that_version_1_0_requires(
    files: dict[str, bytes], own: Settings
) -> None:
    described: dict[str, Any] = json.loads(files["croissant.json"])
    assert described["@type"] == "sc:Dataset" and described["conformsTo"] == CONFORMS_TO
    assert described["@context"]["@vocab"] == "https://schema.org/"
    assert described["@context"]["cr"] == "http://mlcommons.org/croissant/"
    for name in ("name", "description", "license", "url", "distribution", "recordSet"):
        assert described[name], name
    ids = [each["@id"] for each in described["distribution"]]
    for each in described["distribution"]:
        if each["@type"] == "cr:FileObject":
            assert {"name", "contentUrl", "encodingFormat", "sha256"} <= set(each)
            assert Path(each["contentUrl"]).is_file() and re.fullmatch("[0-9a-f]{64}", each["sha256"])
        else:
            assert each["@type"] == "cr:FileSet" and {"includes", "encodingFormat"} <= set(each)
    fields = {field["@id"]: field for records in described["recordSet"] for field in records["field"]}
    for field in fields.values():
        assert field["@type"] == "cr:Field" and field["dataType"]
        if "source" in field:
            assert field["source"]["fileSet"]["@id"] in ids
        if "references" in field:
            assert field["references"]["field"]["@id"] in fields
    labels = next(records for records in described["recordSet"] if records["@id"] == "labels")
    assert [row["labels/name"] for row in labels["data"]] == list(tiny.LABELS)


def test_the_pattern_of_a_split_matches_the_paths_of_shards(files: dict[str, bytes], own: Settings) -> None:
    described = json.loads(files["croissant.json"])
    images = next(records for records in described["recordSet"] if records["@id"] == "images")
    pattern = next(field for field in images["field"] if field["name"] == "split")["source"]["transform"][
        "regex"
    ]
    snapshot = catalogue.load(own, DATASET)[1]
    for split, shards in snapshot.shards.items():
        for shard in shards:
            found = re.match(pattern, f"{snapshot.storage.root}/{shard.path}")
            assert found and found[1] == split


def test_the_sheet_shows_pictures_of_each_label(files: dict[str, bytes], own: Settings) -> None:
    sheet = Image.open(io.BytesIO(files["samples.jpg"]))
    assert sheet.size == (976, 40 + 4 * 174)
    centre = [sheet.getpixel((10 + 64, 40 + 64 + row * 174)) for row in range(4)]
    green, red = centre[2], centre[3]
    assert isinstance(green, tuple) and green[1] > green[0] + 30 and green[1] > green[2] + 30
    assert isinstance(red, tuple) and red[0] > red[1] + 30 and red[0] > red[2] + 30
    assert sample_sheet(catalogue.load(own, DATASET)[1], DATASET) == files["samples.jpg"]


def test_known_problems_are_sentences_with_numbers() -> None:
    counts = {
        "cat": {"train": 80, "validation": 10, "test": 10},
        "dog": {"train": 20, "validation": 0, "test": 2},
    }
    problems = "\n".join(
        known_problems(counts, {"label_conflict": 3, "group_in_another_split": 2}, list(Split))
    )
    assert "cat has 100 images, dog has 22" in problems
    assert "There is no validation image of dog." in problems
    assert "3 images were uploaded with two labels" in problems
    assert "2 images are left out" in problems
    assert known_problems(
        {"cat": {"train": 8, "validation": 0, "test": 1}}, {}, [Split.TRAIN, Split.TEST]
    ) == ["There is one label, cat: nothing can be told apart."]


def test_the_front_matter_names_licence_and_files(own: Settings) -> None:
    entry, snapshot = catalogue.load(own, DATASET)
    assert isinstance(snapshot, DatasetSnapshot)
    text = front_matter(DatasetFacts.of(own, entry, snapshot))
    assert 'license: "cc-by-4.0"' in text
    assert "  - split: validation\n    path: data/validation-*.parquet" in text
