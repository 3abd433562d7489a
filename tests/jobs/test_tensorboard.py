"""`hub tensorboard`: a real TensorBoard on a free port, stopped by Ctrl-C."""

import json
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from conf.settings import Settings
from models.registry import model_cards
from tests.support import colours
from tests.support.commands import Hub, hub_command
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def model(settings: Settings) -> str:
    """A model with the logs of two epochs."""
    from models.formats.export import TensorBoardLogs

    made = colours.model(settings, "by-hand-20261121-0800-0008")
    with TensorBoardLogs(model_cards.artifact_storage(settings, made).subfolder("tensorboard")) as logs:
        for epoch in (1, 2):
            logs.add(epoch, {"loss/train": 1 / epoch})
    return made


def test_logs_are_served_until_ctrl_c(model: str, tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    with log.open("wb") as output:
        board = subprocess.Popen(
            hub_command("tensorboard", "--model", model), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        pattern = re.compile(r"TensorBoard is at (http://127\.0\.0\.1:\d+/)")
        assert wait_until(lambda: bool(pattern.search(log.read_text())), 120), log.read_text()
        found = pattern.search(log.read_text())
        assert found

        def tags() -> object:
            with urllib.request.urlopen(f"{found[1]}data/plugin/scalars/tags", timeout=20) as answer:
                return json.load(answer)

        assert wait_until(lambda: "loss/train" in json.dumps(tags()), 60)
        board.send_signal(signal.SIGINT)
        assert board.wait(30) == 0
    finally:
        board.kill()
        board.wait(30)
    assert "Traceback" not in log.read_text()


def test_a_model_without_logs_and_an_unknown_model_are_one_line(hub: Hub, settings: Settings) -> None:
    bare = colours.model(settings, "by-hand-20261121-0800-0009")
    for model_id, reason in ((bare, f"no logs of {bare}"), ("nobody", "no model 'nobody'")):
        done = hub("tensorboard", "--model", model_id)
        assert done.status == 1 and reason in done.stderr and done.stderr.count("\n") == 1
