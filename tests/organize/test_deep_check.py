"""The second tier trains folds, survives SIGKILL, and finds labels that were changed."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer
from lake.storage import Storage
from lake.table import Table
from models.registry import model_cards
from models.registry.model_cards import State
from tests.support import tiny
from tests.support.commands import ROOT, Hub, hub_command
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.services, pytest.mark.faults]

_FOLDS = 3
_ROWS, _WRONG = 240, range(0, 240, 24)  # every 24th picture has the label of the next one


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """A lake with pictures of four labels, easy to tell apart; ten of them have a wrong label."""
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    random = np.random.default_rng(3)
    samples, uploads = [], []
    for number in range(_ROWS):
        label = tiny.LABELS[(number + (number in _WRONG)) % 4]
        row = {"image_id": f"{number:064x}", "upload_id": f"u{number}", "label": label}
        content = tiny.jpeg(tiny.picture(number % 4, random))
        samples.append(row | {"flags": [], "label_source": "claimed"})
        uploads.append(row | {"verdict": "accepted", "jpeg": content})
    row_writer.append(own, Table.SAMPLES, *samples)
    row_writer.append(own, Table.UPLOADS, *uploads)
    return own


def test_folds_are_trained_once_and_judge_what_they_did_not_see(
    own: Settings, hub: Hub, tmp_path: Path
) -> None:
    environment = {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__CHECKS__DEEP_ARCH": "resnet20",
        "HUB__CHECKS__DEEP_SIDE": "32",
        "HUB__CHECKS__DEEP_EPOCHS": "12",
        "HUB__CHECKS__DEEP_FOLDS": str(_FOLDS),
        "HUB__TRAIN__BATCH_SIZE": "16",
    }
    log = tmp_path / "first.log"
    with log.open("w") as output:
        first = subprocess.Popen(
            hub_command("labels", "check", "--deep"),
            cwd=ROOT, stdout=subprocess.PIPE, stderr=output, text=True, env=os.environ | environment,
            start_new_session=True,
        )  # fmt: skip
        assert first.stdout is not None
        trained = next((line for line in first.stdout if "agrees with" in line), "")
        assert trained, log.read_text()
        first.kill()
        first.wait(30)
    # The folds that are being trained end with it: they hold locks that the next command needs.
    assert wait_until(lambda: not _group_exists(first.pid), 30)
    done = hub("labels", "check", "--deep", "--json", timeout=600, **environment)
    assert done.status == 0, done.stderr
    assert f"{trained.partition(':')[0]}: trained before, as resnet20-" in done.stderr
    # Another fold may have ended before the kill, but not the third, as two are trained at a time.
    assert done.stderr.count("agrees with") + done.stderr.count("trained before") == _FOLDS
    assert 1 <= done.stderr.count("agrees with") < _FOLDS
    assert "INFO" not in done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["checked"] == _ROWS and result["not_checked"] == {}
    columns = ("image_id", "label_quality", "suggested_label", "label_reason")
    found = {int(row["image_id"], 16): row for row in row_writer.read(own, Table.SAMPLES, columns)}
    doubted = sorted(found, key=lambda number: found[number]["label_quality"])[: len(_WRONG)]
    assert len(set(doubted) & set(_WRONG)) >= 8
    right = [found[number]["suggested_label"] == tiny.LABELS[number % 4] for number in _WRONG]
    assert sum(right) >= 4, [found[number]["suggested_label"] for number in _WRONG]
    suggested = next(found[number] for number in _WRONG if found[number]["suggested_label"])
    assert suggested["label_reason"].startswith("resnet20 trained on other pictures: ")
    # The folds leave no dataset behind, and no model that somebody could take for a good one.
    assert Storage(own.lake.at("snapshots"), own.s3).list_folders() == []
    assert {card.state for card in model_cards.all_cards(own)} == {State.RETIRED}


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
