"""Machines of other people: their time zones, and the folders where they type commands."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGES = ("conf", "jobs", "lake", "local", "models", "organize", "streaming", "web")
_FOREIGN = "raise SystemExit('this module belongs to another project')\n"


def other_project(folder: Path) -> Path:
    """A folder that holds a module or a folder of each name that the hub uses, and names of libraries.

    As a conf.py of Sphinx, a models.py of Django, a conf/settings.py, and a lake in ./lake.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*PACKAGES, "numpy", "pyarrow", "keras", "tensorflow", "random", "select", "types"):
        (folder / f"{name}.py").write_text(_FOREIGN)
    for name in PACKAGES:
        (folder / name / "labels").mkdir(parents=True)
    for name in ("conf", "models"):
        (folder / name / "__init__.py").write_text("")
    (folder / "conf" / "settings.py").write_text("DEBUG = True\n")
    return folder


@contextmanager
def local_time(zone: str) -> Iterator[None]:
    """While the block runs, this process is in a time zone."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            yield
    finally:
        time.tzset()
