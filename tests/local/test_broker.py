"""The embedded broker: starts, keeps running, stops, and leaves no process behind when its starter dies."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conf.settings import Settings
from local import broker as local_broker
from local import kraft, state
from local.errors import BrokerFailed, JvmMissing, NoBroker
from tests.support.commands import Hub, hub_command
from tests.support.waiting import port_is_open, wait_until

STARTER = """
import sys
from conf import settings
from local import broker
with broker.running(settings.load()) as bootstrap:
    print(bootstrap, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a broker that these tests may kill; a small heap, since others run beside it.

    Java reads the folder's name in properties files, as a URI and on a command line.
    """
    folder = tmp_path_factory.mktemp("own") / "Jürgens [2024] 100% c# a\\b a%20b 😀" / "broker"
    small = settings.broker.model_copy(update={"dir": folder, "heap": "256m"})
    yield settings.model_copy(update={"broker": small})
    assert state.holder(small) is None, "a test left its broker running"


@pytest.fixture
def environment(own: Settings) -> dict[str, str]:
    """Environment variables that make a subprocess use that broker."""
    return {"HUB__BROKER__DIR": str(own.broker.dir), "HUB__BROKER__HEAP": own.broker.heap}


@pytest.fixture
def starter(environment: dict[str, str]) -> Iterator[Callable[[], tuple["subprocess.Popen[str]", str]]]:
    """Starts a process that starts a broker and must keep running; returns it and the broker's address."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple["subprocess.Popen[str]", str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", STARTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _stops(own: Settings, bootstrap: str) -> bool:
    return wait_until(lambda: state.holder(own.broker) is None and not port_is_open(bootstrap))


@pytest.mark.services
def test_the_commands_up_status_and_down(hub: Hub, own: Settings, environment: dict[str, str]) -> None:
    down = hub("status", **environment)
    assert (down.status, down.stderr) == (1, "")
    assert "run `hub up`" in down.stdout

    first = json.loads(hub("up", "--json", **environment).stdout)
    assert first["stays"]
    assert first["topics_made"] == ["images", "images.rejected", "images.verdicts"]
    assert port_is_open(first["bootstrap"])
    assert local_broker.address(own) == first["bootstrap"]

    again = json.loads(hub("up", "--json", **environment).stdout)
    assert (again["pid"], again["topics_made"]) == (first["pid"], [])

    with local_broker.running(own) as bootstrap:  # an existing broker is used, and keeps running
        assert bootstrap == first["bootstrap"]
    assert port_is_open(first["bootstrap"])

    shown = hub("status", "--json", **environment)
    assert shown.status == 0
    status = json.loads(shown.stdout)
    assert (status["broker"], status["bootstrap"], status["up"]) == ("embedded", first["bootstrap"], True)
    assert [(t["topic"], t["records"]) for t in status["topics"]] == [
        ("images", 0),
        ("images.rejected", 0),
        ("images.verdicts", 0),
    ]

    stopped = json.loads(hub("down", "--json", **environment).stdout)
    assert stopped == {"stopped": True, "pid": first["pid"], "external": None}
    assert not port_is_open(first["bootstrap"])
    assert json.loads(hub("down", "--json", **environment).stdout)["stopped"] is False
    assert (kraft.data_folder(own.broker) / "meta.properties").exists()
    assert (kraft.log_folder(own.broker) / "server.log").stat().st_size


@pytest.mark.services
def test_broker_stops_when_its_starter_ends(
    own: Settings, starter: Callable[[], tuple["subprocess.Popen[str]", str]]
) -> None:
    process, bootstrap = starter()
    assert port_is_open(bootstrap)
    process.communicate("", timeout=60)
    assert process.returncode == 0
    assert state.holder(own.broker) is None
    assert not port_is_open(bootstrap)


@pytest.mark.services
def test_sigkill_of_the_starter_leaves_no_broker(
    own: Settings, starter: Callable[[], tuple["subprocess.Popen[str]", str]]
) -> None:
    process, bootstrap = starter()
    assert port_is_open(bootstrap)
    process.kill()
    assert _stops(own, bootstrap)


@pytest.mark.services
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_sigkill_of_the_supervisor_leaves_no_broker(
    own: Settings, starter: Callable[[], tuple["subprocess.Popen[str]", str]]
) -> None:
    _, bootstrap = starter()
    supervisor = state.holder(own.broker)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    assert _stops(own, bootstrap)


@pytest.mark.services
def test_ctrl_c_while_starting_leaves_no_broker(own: Settings, environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        hub_command("up"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert wait_until(lambda: state.holder(own.broker) is not None)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "\nhub up: interrupted\n")
    assert state.holder(own.broker) is None


@pytest.mark.services
def test_broker_that_dies_while_starting_fails_at_once_with_its_last_error(own: Settings) -> None:
    starved = own.broker.model_copy(update={"heap": "1m", "start_seconds": 60.0})
    with (
        pytest.raises(BrokerFailed, match=r"the broker stopped: .+\(see .*logs\)"),
        local_broker.running(own.model_copy(update={"broker": starved})),
    ):
        pass
    assert state.holder(own.broker) is None


def test_address_without_a_broker_tells_the_way_out(own: Settings) -> None:
    with pytest.raises(NoBroker, match="run `hub up`, or set HUB__KAFKA__BOOTSTRAP"):
        local_broker.address(own)


def test_state_file_of_a_dead_broker_is_ignored(own: Settings, tmp_path: Path) -> None:
    left = own.broker.model_copy(update={"dir": tmp_path})
    state.save(left, state.State("127.0.0.1:9", os.getpid(), "2026-01-01T00:00:00+00:00", leashed=False))
    (tmp_path / "broker.lock").write_text(str(os.getpid()))
    assert state.running(left) is None
    assert local_broker.down(own.model_copy(update={"broker": left})) is None  # and no process is killed


def test_second_supervisor_does_not_get_the_folder(own: Settings, tmp_path: Path) -> None:
    shared = own.broker.model_copy(update={"dir": tmp_path})
    first = state.lock(shared)
    assert first is not None
    assert state.lock(shared) is None
    assert state.holder(shared) == os.getpid()
    os.close(first)
    assert state.holder(shared) is None


def test_ports_stay_the_same_until_another_process_uses_one(own: Settings, tmp_path: Path) -> None:
    fresh = own.broker.model_copy(update={"dir": tmp_path})
    first = kraft.prepare(fresh)
    assert kraft.prepare(fresh) == first
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.broker))
        other.listen()
        assert kraft.prepare(fresh).broker != first.broker


def test_folder_that_cannot_be_written_is_named(own: Settings) -> None:
    broker = own.broker.model_copy(update={"dir": Path("/dev/null/broker")})
    with pytest.raises(
        BrokerFailed, match=r"cannot write /dev/null/broker.*set HUB__BROKER__DIR to a folder"
    ):
        local_broker.up(own.model_copy(update={"broker": broker}))


def test_missing_java_is_reported(own: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JvmMissing, match=r"no java in JAVA_HOME=.*Java 17"), local_broker.running(own):
        pass


@pytest.mark.services
def test_external_cluster_gets_topics_and_is_never_stopped(
    hub: Hub, broker: str, topic: str, environment: dict[str, str]
) -> None:
    external = environment | {
        "HUB__KAFKA__BOOTSTRAP": broker,
        "HUB__KAFKA__TOPIC": topic,
        "HUB__KAFKA__REJECTED_TOPIC": f"{topic}.rejected",
        "HUB__KAFKA__VERDICTS_TOPIC": f"{topic}.verdicts",
    }
    started = json.loads(hub("up", "--json", **external).stdout)
    assert started == {
        "broker": "external",
        "bootstrap": broker,
        "topics_made": [topic, f"{topic}.rejected", f"{topic}.verdicts"],
        "topics_guarded": [],
    }
    assert json.loads(hub("status", "--json", **external).stdout)["broker"] == "external"
    stopped = hub("down", **external)
    assert stopped.status == 0
    assert f"The external cluster at {broker} was not stopped" in stopped.stdout
    assert port_is_open(broker)
