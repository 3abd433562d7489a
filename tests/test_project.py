"""The project as a whole: packaging, package maps, module sizes, Makefile, set-up, Compose."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest

from tests.support.commands import ROOT, Finished

PACKAGES = ("conf", "lake", "local", "streaming", "models", "organize", "web", "jobs")


def _printed(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PACKAGES)
def test_generic_package_name_belongs_to_this_project(name: str) -> None:
    owners = importlib.metadata.packages_distributions()[name]
    assert set(owners) == {"deep-images-hub"}
    assert importlib.import_module(name).__file__ == str(ROOT / name / "__init__.py")


def test_nothing_but_the_packages_is_installed() -> None:
    found = importlib.metadata.packages_distributions()
    ours = {name for name, owners in found.items() if "deep-images-hub" in owners}
    installed = {name for name in ours if not name.startswith("__editable__")}
    # A checkout that was set up before the client was added lacks it until `make setup` runs again.
    assert set(PACKAGES) <= installed <= {*PACKAGES, "hub_client"}


@pytest.mark.parametrize("name", ["jobs", "lake", "models", "organize", "streaming", "web"])
def test_the_docstring_of_a_package_lists_all_its_modules(name: str) -> None:
    groups = re.findall(r"^\w[\w ]*?  +([\w, ]+):", importlib.import_module(name).__doc__ or "", re.MULTILINE)
    listed = [part for group in groups for part in group.split(", ")]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / name).glob("[!_]*"))


def _modules() -> list[Path]:
    folders = [*PACKAGES, "tests", "benchmarks"]
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_no_folder_has_more_than_16_modules() -> None:
    sizes = Counter(path.parent.relative_to(ROOT) for path in _modules() if path.name != "__init__.py")
    assert {str(folder): size for folder, size in sizes.items() if size > 16} == {}


def test_no_module_of_a_package_is_longer_than_260_lines() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in _modules()}
    long = {str(path): lines for path, lines in lengths.items() if lines > 260 and path.parts[0] in PACKAGES}
    assert long == {}


def test_make_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    lines = _printed("make", "--no-print-directory", "help").splitlines()
    assert [line.split()[1] for line in lines] == phony.group(1).split()
    assert all(len(line.split(maxsplit=2)) == 3 for line in lines), "a target lacks its line"


def test_continuous_integration_runs_from_any_folder() -> None:
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert "make lint test" in (ROOT / ".ci/run").read_text()


def test_setup_script_parses() -> None:
    _printed("bash", "-n", "local/setup.sh")


def _without_java(folder: Path, user: int, **found: str) -> Finished:
    """Run set-up in a checkout of its own, with a PATH that has everything but Java.

    Args:
        user: output of `id -u`.
        found: further commands on the PATH; name to shell script.
    """
    tools, checkout = folder / "bin", folder / "hub"
    for name in ("setup.py", "constraints.txt", "conf/ivy.xml", "local/setup.sh"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    tools.mkdir()
    for name in ("bash", "dirname", "mkdir", "cat", "cksum", "sed", "head", "uname", "flock"):
        if where := shutil.which(name):
            (tools / name).symlink_to(where)
    for name, script in ({"id": f"echo {user}"} | found).items():
        (tools / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        [checkout / "local/setup.sh"],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def test_setup_without_java_and_root_stops_with_the_command_to_type(tmp_path: Path) -> None:
    # As on Debian 13, whose package lists have the older package without an installable version.
    policy = '[[ $2 = *-17-* ]] && echo "  Candidate: (none)" || echo "  Candidate: 21.0.11+10-1"'
    apt = {"apt-get": f"echo called >{tmp_path}/called", "apt-cache": policy}
    done = _without_java(tmp_path, 1000, **apt)
    assert done.status == 1
    wanted = "sudo apt-get update && sudo apt-get install openjdk-21-jre-headless"
    assert done.stderr == f"setup: Java 17 or later is needed; type: {wanted}\n"
    assert not (tmp_path / "called").exists()


def test_setup_where_apt_is_missing_stops_with_another_command(tmp_path: Path) -> None:
    done = _without_java(tmp_path, 0)
    assert done.status == 1
    assert re.fullmatch(r"setup: Java 17 or later is needed; type: \w+ .*install .*\n", done.stderr)


def test_installed_versions_are_those_of_the_constraints() -> None:
    pinned = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert len(pinned) > 50
    needed = {
        re.split(r"[<>=;\[ ]", line)[0].lower()
        for line in importlib.metadata.requires("deep-images-hub") or ()
    }
    names = {name.lower().replace("_", "-") for name, _ in pinned}
    assert needed - {"daft"} <= names, "a dependency of setup.py is not pinned"


def test_ivy_pins_every_version() -> None:
    for dependency in ElementTree.parse(ROOT / "conf/ivy.xml").iter("dependency"):
        assert re.fullmatch(r"\d+(\.\d+)+", dependency.attrib["rev"]), dependency.attrib


def test_jvm_kafka_versions_are_the_connectors(settings: object) -> None:
    revisions = {
        dependency.attrib["name"]: dependency.attrib["rev"]
        for dependency in ElementTree.parse(ROOT / "conf/ivy.xml").iter("dependency")
    }
    assert revisions["spark-sql-kafka-0-10_2.13"] == importlib.metadata.version("pyspark")


def test_light_commands_load_neither_spark_nor_tensorflow() -> None:
    code = (
        "import sys, jobs.hub, jobs.services.up, jobs.services.down, jobs.services.status; "
        "print(sorted({'pyspark', 'tensorflow', 'cv2'} & set(sys.modules)))"
    )
    assert _printed(sys.executable, "-c", code) == "[]\n"


def test_compose_file_is_valid() -> None:
    compose = _compose()
    if compose is None:
        pytest.skip("no docker CLI with Compose here")
    shown = _printed(*compose, "-f", str(ROOT / "docker-compose.yml"), "config")
    for service in ("kafka", "master", "worker-1", "worker-2", "hub", "s3"):
        assert f"  {service}:" in shown


def test_one_service_builds_the_image_of_all_and_no_volume_is_without_a_name() -> None:
    assert len(re.findall(r"^ +build:", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)) == 1
    assert "VOLUME" not in (ROOT / "Dockerfile").read_text()


def _compose() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True, timeout=60, check=False)
            if done.returncode == 0:
                return command
    return None
