"""The folder for native libraries and sockets: noexec file systems, long names, killed processes."""

import multiprocessing
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.errors import SparkUnavailable
from lake.spark import temporary_folder
from tests.support.disks import small_disk

LONG = "a-folder-with-a-long-name-" * 4


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    temporary_folder.of_process.cache_clear()
    yield
    temporary_folder.of_process.cache_clear()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, as a checkout's build/spark has one."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/var/tmp") as folder:
        yield Path(folder)


def test_the_folder_is_private_below_the_work_folder_and_the_same_for_the_whole_process(short: Path) -> None:
    before = os.umask(0)
    try:
        found = temporary_folder.of_process(short)
    finally:
        os.umask(before)
    assert found.path.parent == short / "tmp" and found.holds_sockets
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o700
    assert temporary_folder.of_process(short) == found


def test_sockets_get_a_folder_with_a_short_path(tmp_path: Path) -> None:
    found = temporary_folder.of_process(tmp_path / LONG)
    assert found.holds_sockets and len(os.fsencode(found.path)) < 64
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o700


def test_libraries_get_a_folder_that_is_not_mounted_noexec(tmp_path: Path) -> None:
    with small_disk(tmp_path / "noexec", "1m", "noexec"):
        found = temporary_folder.of_process(tmp_path / "noexec" / "spark").path
    assert not os.statvfs(found).f_flag & os.ST_NOEXEC
    assert os.access(found, os.W_OK)


def test_without_any_place_for_libraries_one_line_names_the_setting(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary_folder, "is_executable", lambda place: False)
    with pytest.raises(SparkUnavailable, match=rf"{short} is mounted noexec.*set HUB__SPARK__WORK_DIR"):
        temporary_folder.of_process(short)


def test_without_any_place_for_sockets_spark_uses_tcp(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_folder, "_can_hold_sockets", lambda place: False)
    found = temporary_folder.of_process(short)
    assert found.path.parent == short / "tmp" and not found.holds_sockets


def test_a_work_folder_that_cannot_be_written_is_one_line(short: Path) -> None:
    (short / "file").write_text("")
    with pytest.raises(SparkUnavailable, match=r"cannot write .*Not a directory; set HUB__SPARK__WORK_DIR"):
        temporary_folder.of_process(short / "file")


def _folder_of_another_process(work: Path, ending: str) -> Path:
    code = (
        "import os, sys, pathlib; from lake.spark import temporary_folder\n"
        f"print(temporary_folder.of_process(pathlib.Path({str(work)!r})).path, flush=True)\n"
        f"{ending}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return Path(done.stdout.strip())


def test_the_folder_is_deleted_at_the_end_of_the_process_but_not_of_its_forks(short: Path) -> None:
    forks = "assert os.fork() == 0 or os.wait()"
    assert not _folder_of_another_process(short, forks).exists()
    found = temporary_folder.of_process(short)
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join()
    assert found.path.exists()


def test_a_folder_of_a_killed_process_is_deleted_later_and_one_in_use_is_not(short: Path) -> None:
    killed = _folder_of_another_process(short, "os.kill(os.getpid(), 9)")
    assert killed.exists()
    own = temporary_folder.of_process(short)
    assert not killed.exists()
    _folder_of_another_process(short, "")
    assert own.path.exists()
