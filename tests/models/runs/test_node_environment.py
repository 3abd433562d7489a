"""What a node takes from its machine: an address that leads to its driver, and short socket paths."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.runs import node_environment


def test_a_node_has_the_address_with_which_it_reaches_its_driver() -> None:
    assert node_environment.address_towards("127.0.0.1") == "127.0.0.1"
    # The name of this machine is often a loopback address here, and another one elsewhere.
    assert node_environment.address_towards("localhost") is None
    assert node_environment.address_towards("no-such-host-4711.invalid") is None


def test_a_node_asks_neither_for_the_internet_nor_for_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_network() -> str:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("HADOOP_PREFIX", "/opt/hadoop")
    nodes = SimpleNamespace(util=SimpleNamespace(get_ip_address=without_network))
    node_environment.prepare(nodes, "127.0.0.1")
    assert nodes.util.get_ip_address() == "127.0.0.1"
    assert "HADOOP_PREFIX" not in os.environ


@pytest.mark.parametrize("name", ["t", "a-folder-with-a-long-name-" * 4])
def test_a_node_can_start_its_queues_whatever_tmpdir_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    code = (
        "from types import SimpleNamespace\n"
        "from multiprocessing.managers import SyncManager\n"
        "from models.runs import node_environment\n"
        "node_environment.prepare(SimpleNamespace(util=SimpleNamespace()), '127.0.0.1')\n"
        "with SyncManager() as manager: print(manager.list([7]))\n"
        "import tempfile; print(tempfile.gettempdir())"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path / name)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["[7]", str(tmp_path / name)], done.stderr
