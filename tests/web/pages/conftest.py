"""Fixtures of the pages' tests: a small lake, and the application on it without a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from conf.sections import Lake
from conf.settings import Settings
from tests.web import worlds
from tests.web.pages.browsers import browser
from web.data.mirror import Mirror


@pytest.fixture(scope="session")
def world(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a small lake with pictures, labels, a dataset and models; tests do not change it."""
    return _own(settings, tmp_path_factory.mktemp("world"), pictures=120)


@pytest.fixture
def own_world(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a smaller lake that a test may change."""
    return _own(settings, tmp_path, pictures=30)


@pytest.fixture(scope="session")
def world_mirror(world: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """The copies of the tables of `world`."""
    mirror = Mirror(world, tmp_path_factory.mktemp("copies") / "tables.duckdb")
    mirror.refresh()
    yield mirror
    mirror.close()


@pytest.fixture(scope="session")
def site(world: Settings) -> Iterator[TestClient]:
    """A browser of the pages on `world`; there is no broker."""
    with browser(world) as client:
        yield client


def _own(settings: Settings, folder: Path, pictures: int) -> Settings:
    web = settings.web.model_copy(update={"dir": folder / "web", "refresh_seconds": 0.1})
    changed = settings.model_copy(update={"lake": Lake(root=str(folder / "lake")), "web": web})
    worlds.build(changed, pictures)
    return changed
