"""A lake with a dataset of drawn people and a small triplet model that was trained on it."""

import hashlib
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.snapshot import Split
from lake.table import Table
from tests.support import tiny
from tests.web import lakes
from tests.web.faces import drawn_faces, triplet_model
from tests.web.faces.drawn_faces import PEOPLE

DATASET, MODEL = "people-dataset", "small-triplet"
OF_EACH = 8


@pytest.fixture(scope="session")
def people(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of that lake, with faces turned on; tests do not change it."""
    folder: Path = tmp_path_factory.mktemp("people")
    web = settings.web.model_copy(update={"dir": folder / "web", "refresh_seconds": 0.1})
    faces = settings.faces.model_copy(update={"enabled": True})
    own = settings.model_copy(update={"lake": Lake(root=str(folder / "lake")), "web": web, "faces": faces})
    names = tuple(PEOPLE)
    pictures = [
        (hashlib.sha256(jpeg).hexdigest(), number % len(names), jpeg)
        for number in range(OF_EACH * len(names))
        for jpeg in [tiny.jpeg(drawn_faces.portrait(PEOPLE[names[number % len(names)]], number))]
    ]
    half = len(pictures) // 2
    parts = {Split.TRAIN: pictures[:half], Split.VALIDATION: pictures[half:], Split.TEST: []}
    tiny.write_snapshot(own, DATASET, names, parts)
    lakes.append(own, Table.SAMPLES, [
        lakes.sample_row(number, image_id=image_id, label=names[label], user=f"user-{names[label]}")
        for number, (image_id, label, _) in enumerate(pictures)
    ])  # fmt: skip
    triplet_model.train(own, MODEL, DATASET)
    return own
