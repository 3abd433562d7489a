"""Commands on machines of other people: what is set, mounted and named there changes nothing."""

import ctypes
import json
import os
import shutil
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from tests.support import colours, pictures, tiny
from tests.support.commands import Finished, hub_command
from tests.support.machines import other_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.faults

ODD_NAME = "100% c#, Jürgens a+b&c=d;e's <1> ~$x"
LONG_NAME = "a-folder-with-a-long-name-" * 4
NOBODY = 54321  # a user id without a name

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and other users take root")


def run(*command: str, cwd: Path | None = None, **variables: str) -> Finished:
    done = subprocess.run(
        command, env=os.environ | variables, cwd=cwd, capture_output=True, text=True, timeout=600
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def outside_tmp() -> Iterator[Path]:
    """A folder that is not below /tmp, which anybody may use."""
    folder = Path(tempfile.mkdtemp(prefix="hub-", dir="/var/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def folders_below(folder: Path) -> dict[str, str]:
    """The variables of all folders that the hub writes."""
    return {
        "HUB__LAKE__ROOT": str(folder / "lake"),
        "HUB__LOGS__DIR": str(folder / "logs"),
        "HUB__BROKER__DIR": str(folder / "broker"),
        "HUB__SPARK__WORK_DIR": str(folder / "spark"),
        "HUB__INGEST__INDEX_DIR": str(folder / "index"),
    }


def write_pictures(folder: Path) -> None:
    """80 pictures of two labels that are accepted, and 5 that are too small."""
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(40):
            content = pictures.jpeg(80, 60, seed=number + 100 * (label == "dog"))
            (folder / label / f"{number}.jpg").write_bytes(content)
    for number in range(5):
        (folder / "cat" / f"small-{number}.jpg").write_bytes(pictures.jpeg(20, 20, seed=number))


@contextmanager
def recording_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that refuses everything; yields its address and what it was asked for."""
    asked: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(4096).split(b"\r\n")[0])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.mark.services
def test_every_command_works_in_the_folder_of_another_project_on_a_lake_of_any_name(
    settings: Settings, broker: str, topic: str, tmp_path: Path
) -> None:
    project = other_project(tmp_path / "project")
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / ODD_NAME / "lake"))})
    model = colours.model(own, "by-hand-20261121-0800-0003")
    write_pictures(tmp_path / "pictures")
    variables = {
        "HUB__LAKE__ROOT": own.lake.root, "HUB__INGEST__INDEX_DIR": str(tmp_path / "index"),
        "HUB__KAFKA__BOOTSTRAP": broker, "HUB__KAFKA__TOPIC": topic, "HUB__LABELS__READY_IMAGES": "10",
        "HUB__KAFKA__REJECTED_TOPIC": f"{topic}.rejected",
        "HUB__KAFKA__VERDICTS_TOPIC": f"{topic}.verdicts",
        "TMPDIR": str(tmp_path / LONG_NAME), "PYTHONPATH": str(tmp_path / "own"),
    }  # fmt: skip
    (tmp_path / LONG_NAME).mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "conf.py").write_text("raise SystemExit('a conf.py of another project')")

    def hub(*arguments: str) -> dict[str, object]:
        done = run(*hub_command(*arguments, "--json"), cwd=project, **variables)
        assert (done.status, "another project" in done.stderr) == (0, False), done.stderr
        found = json.loads(done.stdout)
        return found if isinstance(found, dict) else {"rows": found}

    hub("up")
    hub("push", str(tmp_path / "pictures"), "--batch", "b")
    ingested = hub("ingest", "--once")
    assert (ingested["accepted"], ingested["rejected"]) == (80, {"too_small": 5})
    assert hub("rejects")["rejected"] == 5
    hub("replay", "--reason", "too_small", "--dry-run")
    hub("organize")
    assert hub("sql", "SELECT count(*) AS n FROM samples")["rows"] == [{"n": 80}]
    assert hub("predict", "--model", model, "--table", "samples")["pictures"] == 80
    hub("predict", "--model", model, str(tmp_path / "pictures" / "cat" / "1.jpg"))
    hub("models")
    hub("status")
    assert hub("report", "b", "--to", str(tmp_path / "out"))["batch"] == "b"
    assert hub("erase", "--user", "user-001", "--dry-run")["dry_run"] is True


@pytest.mark.services
def test_training_needs_no_name_no_proxy_and_no_keras_of_the_machine(
    settings: Settings, tmp_path: Path
) -> None:
    """A host name that resolves to nothing, a proxy, another Spark, Python and Keras, another time zone."""
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / ODD_NAME / "lake"))})
    tiny.snapshot(own, "tiny")
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(
        '{"backend": "jax", "image_data_format": "channels_first"}'
    )
    (tmp_path / LONG_NAME).mkdir()
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname no-such-host-4711 && exec "$@"', "sh"]
    prefix = renamed if os.geteuid() == 0 else []  # another name takes root
    with recording_proxy() as (proxy, asked):
        variables = {
            "HUB__LAKE__ROOT": own.lake.root, "HOME": str(tmp_path), "KERAS_BACKEND": "torch",
            "TF_USE_LEGACY_KERAS": "1", "http_proxy": proxy, "https_proxy": proxy, "no_proxy": "localhost",
            "TZ": "America/Los_Angeles", "LC_ALL": "C", "TMPDIR": str(tmp_path / LONG_NAME),
            "SPARK_HOME": "/opt/spark-3", "PYSPARK_PYTHON": "/bin/false", "SPARK_LOCAL_IP": "192.0.2.7",
        }  # fmt: skip
        command = hub_command("train", "--dataset", "tiny", "--workers", "2", "--epochs", "1", "--json")
        done = run(*prefix, *command, cwd=other_project(tmp_path / "project"), **variables)
    assert done.status == 0, done.stderr
    assert asked == []
    trained = json.loads(done.stdout)
    assert (trained["workers"], trained["epochs"]) == (2, 1)
    assert (Path(trained["path"]) / "model.tflite").exists()


@pytest.mark.services
@needs_root
def test_the_pipeline_runs_where_tmp_is_noexec_and_the_host_name_resolves_to_nothing(
    outside_tmp: Path,
) -> None:
    """Libraries for compression are unpacked elsewhere, in the broker, too."""
    write_pictures(outside_tmp / "pictures")
    machine = "hostname no-such-host-4711; mount -t tmpfs -o noexec,size=64m tmpfs /tmp; umask 077"
    hub = " ".join(hub_command())
    push = f"{hub} push {outside_tmp}/pictures --batch b"
    script = f"set -e; {machine}; {hub} up; {push}; {hub} ingest --once --json; {hub} down"
    own = folders_below(outside_tmp)
    done = run("unshare", "--mount", "--uts", "bash", "-c", script, cwd=outside_tmp, **own)
    assert done.status == 0, done.stderr
    (outcome,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert outcome["accepted"] == 80


@pytest.mark.services
@needs_root
def test_a_user_without_a_name_queries_the_lake_or_is_told_what_is_missing(
    spark: "SparkSession", outside_tmp: Path
) -> None:
    tables.create(spark, Lake(root=str(outside_tmp / "lake")))
    other_user = ["setpriv", f"--reuid={NOBODY}", "--regid=0", "--clear-groups"]
    command = hub_command("sql", "SELECT count(*) AS n FROM samples", "--json")
    own = folders_below(outside_tmp) | {"HOME": "/nonexistent"}
    done = run(*other_user, *command, cwd=outside_tmp, **own)
    try:
        ctypes.CDLL("libnss_wrapper.so")
    except OSError:
        assert done.status == 1 and done.stderr.count("\n") == 1
        assert f"user id {NOBODY} has no name" in done.stderr and "/etc/passwd" in done.stderr
    else:
        assert (done.status, done.stdout, done.stderr) == (0, '[{"n": 0}]\n', "")


@pytest.mark.services
@pytest.mark.parametrize(
    "arguments",
    [
        "sql SELECT(labell)FROM(samples)",
        "sql SELECT",
        "rejects",
        "replay --all",
        "erase --user u-1",
        "organize",
        "train --dataset no-such",
        "evaluate --model no-such",
        "predict --model no-such a.jpg",
        "predict --table /no/such/table",
        "models show no-such",
        "push /no/such/folder",
        "report no-such",
        "demo --archive /no/such/archive",
        "ingest --once",
        "tensorboard",
        "down --no-such-flag",
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: str, tmp_path: Path, settings: Settings) -> None:
    """Nothing else is on standard error: no log of a library, no stack, no message of the JVM."""
    words = arguments.split()
    own = folders_below(tmp_path) | {
        "HUB__KAFKA__BOOTSTRAP": "127.0.0.1:1",
        "HUB__KAFKA__CONNECT_SECONDS": "1",
    }
    if words[1:2] == ["--table"]:
        lake = settings.model_copy(update={"lake": Lake(root=own["HUB__LAKE__ROOT"])})
        words += ["--model", colours.model(lake, "by-hand-20261121-0800-0004")]
    done = run(*hub_command(*words), cwd=tmp_path, **own)
    assert done.status in (1, 2)
    assert done.stderr.startswith(f"hub {words[0]}") and done.stderr.count("\n") == 1, done.stderr
