"""The environment of the hub's processes: no variable of the machine changes their results."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf import process_environment
from tests.support.archives import PICTURE, foldered
from tests.support.commands import ROOT, hub_command


def test_children_have_one_time_zone_one_locale_and_a_safe_path() -> None:
    given = {"TZ": "Asia/Kolkata", "LC_ALL": "tr_TR.UTF-8", "MPLBACKEND": "nope", "MINE": "kept"}
    fixed = {
        "TZ": "UTC", "LC_ALL": "C.UTF-8", "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore",
        "PYTHONSAFEPATH": "1",
    }  # fmt: skip
    assert process_environment.of_children(given) == fixed | {"MINE": "kept"}


@pytest.mark.parametrize("entries", ["{own}", "{own}:{root}", "{root}:{own}", ":{own}", "."])
def test_the_hub_s_packages_come_before_those_of_pythonpath(
    entries: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf.py").write_text("raise SystemExit('a conf.py of Sphinx')")
    (tmp_path / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    path = entries.format(own=tmp_path, root=ROOT)
    environment = process_environment.of_children(dict(os.environ) | {"PYTHONPATH": path})
    code = "import conf.settings, mine; print(conf.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (f"{ROOT / 'conf/__init__.py'}\n", "")


def test_the_command_finds_its_packages_before_those_of_pythonpath(tmp_path: Path) -> None:
    for package in ("conf", "models", "lake", "streaming"):
        (tmp_path / f"{package}.py").write_text("raise SystemExit('not the hub')")
    done = subprocess.run(
        hub_command("train", "--help"), env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "hub train" in done.stdout


def test_a_folder_of_the_same_name_hides_no_package(tmp_path: Path) -> None:
    """As a lake in ./lake. A package without __init__.py is found on sys.path before any finder is asked."""
    (tmp_path / "lake" / "labels").mkdir(parents=True)
    code = "import lake; print(lake.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"{ROOT / 'lake/__init__.py'}\n", done.stderr


def test_file_names_are_utf8_whatever_the_locale_is() -> None:
    variables = {
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",  # Python itself would take ASCII
        "HUB__LAKE__ROOT": "/nowhere/Jürgens Bilder",
    }  # fmt: skip
    done = subprocess.run(hub_command("status", "--json"), env=os.environ | variables, capture_output=True)
    assert "/nowhere/Jürgens Bilder".encode() in done.stdout, done.stderr


def test_encodings_and_warnings_of_the_machine_end_no_command(tmp_path: Path) -> None:
    foldered(tmp_path / "set", {"Crème/1.jpg": PICTURE, "dog/2.jpg": PICTURE})
    done = subprocess.run(
        hub_command("push", str(tmp_path / "set"), "--dry-run"),
        env=os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONWARNINGS": "error"},
        capture_output=True, encoding="latin-1", timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "Crème" in done.stdout and "\\u2500" in done.stdout and "2 images would be" in done.stdout


def test_times_of_a_command_are_in_utc() -> None:
    code = (
        "import time, click; from jobs.cli.command import Command, run\n"
        "local = lambda: time.strftime('%H:%M %Z', time.localtime(0))\n"
        "assert local() == '05:30 IST'\n"
        "run(click.command('show', cls=Command)(lambda: ({}, local(), 0)), [])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TZ": "Asia/Kolkata"}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("00:00 UTC\n", "")


def test_grpc_reaches_the_hosts_of_a_cluster_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    process_environment.bypass_proxy("10.0.0.1", "10.0.0.2")
    assert os.environ["no_grpc_proxy"] == "10.0.0.1,10.0.0.2"  # noqa: SIM112 - gRPC's name
    assert os.environ["http_proxy"] == "http://127.0.0.1:9"  # S3 may use it
