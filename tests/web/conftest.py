"""A lake that was written without Spark, its copies, and the application on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from conf.errors import HubError
from conf.sections import Lake
from conf.settings import Settings
from lake.table import Table
from tests.web import lakes
from web.data.mirror import Mirror
from web.resources.resources import Resources
from web.server import app


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with an empty lake and a web folder of the test."""
    web = settings.web.model_copy(update={"dir": tmp_path / "web", "refresh_seconds": 0.1})
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake")), "web": web})


@pytest.fixture
def filled(own: Settings) -> Settings:
    """A lake with 30 accepted uploads of seven users, and three that were rejected."""
    rejected = [lakes.rejected_row(30 + n, reason) for n, reason in enumerate(("truncated", "too_small"))]
    duplicate = lakes.rejected_row(32, "duplicate_upload", upload_id="upload-000001")
    lakes.append(own, Table.UPLOADS, [*map(lakes.upload_row, range(30)), *rejected, duplicate])
    lakes.append(own, Table.SAMPLES, map(lakes.sample_row, range(30)))
    labels = [
        {"label": "cat", "parent": "animal", "display_name": "Cat", "accepted": 15, "ready": False},
        {"label": "dog", "parent": "animal", "display_name": "Dog", "accepted": 15, "ready": False},
    ]
    lakes.append(own, Table.LABELS, labels)
    return own


@pytest.fixture
def mirror(filled: Settings, tmp_path: Path) -> Iterator[Mirror]:
    """Copies of the tables of that lake."""
    mirror = Mirror(filled, tmp_path / "tables.duckdb")
    mirror.refresh()
    yield mirror
    mirror.close()


@pytest.fixture
def resources(filled: Settings) -> Resources:
    """Resources without Kafka."""

    def nowhere() -> str:
        raise HubError("no broker: run `hub up`")

    return Resources(filled, nowhere, opened=True)


@pytest.fixture
def client(resources: Resources) -> Iterator[TestClient]:
    """A client of the application on that lake, without Kafka."""
    with TestClient(app.create(resources), base_url="http://localhost") as client:
        assert resources.freshness.ready.wait(20)
        yield client
