"""`hub push` as a user types it, without a broker."""

import json
from pathlib import Path

import pytest

from tests.support.archives import PICTURE, foldered, zipped
from tests.support.commands import Hub

NOWHERE = {"HUB__KAFKA__BOOTSTRAP": "127.0.0.1:9", "HUB__KAFKA__CONNECT_SECONDS": "1"}


def test_dry_run_shows_labels_counts_and_what_is_left_out(hub: Hub, tmp_path: Path) -> None:
    members = {
        f"set/{label}/{n}.jpg": PICTURE for label in ("Crème brûlée", "crème brûlée", "dog") for n in range(3)
    }
    source = zipped(tmp_path / "in.zip", members | {"set/dog/notes.txt": b"", "set/dog/.DS_Store": b""})
    done = hub("push", str(source), "--dry-run", **NOWHERE)
    assert (done.status, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "creme_brulee 6 Crème brûlée, crème brûlée" in lines
    assert "dog 3 dog" in lines
    assert "all 9" in lines
    assert lines[-3:] == [
        "not sent: 1 × no picture by its ending ('set/dog/notes.txt'); 1 × hidden file ('set/dog/.DS_Store')",
        "note: 'Crème brûlée', 'crème brûlée' are one label: creme_brulee",
        "nothing was sent (--dry-run); 9 images would be",
    ]
    found = json.loads(hub("push", str(source), "--dry-run", "--json", "--repeat", "2", **NOWHERE).stdout)
    assert found["labels"] == {"Crème brûlée": 3, "crème brûlée": 3, "dog": 3}
    assert found["slugs"] == {"Crème brûlée": "creme_brulee", "crème brûlée": "creme_brulee", "dog": "dog"}
    assert (found["dry_run"], found["sent"], found["would_send"], found["problem"]) == (True, 0, 18, None)
    assert found["skipped"] == {"no picture by its ending": 1, "hidden file": 1}


def test_dry_run_of_what_a_push_refuses_has_status_2(hub: Hub, tmp_path: Path) -> None:
    source = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE, "猫/2.jpg": PICTURE})
    done = hub("push", str(source), "--dry-run", **NOWHERE)
    assert done.status == 2
    assert "cannot be a label 1 猫" in " ".join(done.stdout.split())
    assert "1 of 2 names cannot be labels: '猫' has no letter a–z" in done.stdout


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (("猫/1.jpg", "犬/2.jpg", "cat/3.jpg"), "2 of 3 names cannot be labels: '犬' has no letter"),
        (("train/1.jpg", "val/2.jpg"), "the labels would be 'train' (1 pictures), 'val' (1 pictures)"),
    ],
)
def test_unusable_labels_are_one_line_with_status_2_before_any_record(
    hub: Hub, tmp_path: Path, members: tuple[str, ...], message: str
) -> None:
    source = foldered(tmp_path / "in", dict.fromkeys(members, PICTURE))
    done = hub("push", str(source), **NOWHERE)  # the address is not asked: nothing is sent
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith("hub push: error: ")
    assert message in done.stderr
    assert "nothing was sent" in done.stderr
    assert "--label-map FILE.csv" in done.stderr
    assert done.stderr.count("\n") == 1


def test_links_that_are_not_sent_name_the_flag(hub: Hub, tmp_path: Path) -> None:
    foldered(tmp_path / "full", {"cat/1.jpg": PICTURE})
    source = foldered(tmp_path / "in", {"dog/1.jpg": PICTURE})
    (source / "cat").symlink_to(tmp_path / "full/cat")
    said = "not sent: 1 × link that leads out of the folder ('cat'); --follow-links sends what links lead to"
    assert said in hub("push", str(source), "--dry-run", **NOWHERE).stdout.splitlines()
    found = json.loads(hub("push", str(source), "--dry-run", "--json", "--follow-links", **NOWHERE).stdout)
    assert found["labels"] == {"cat": 1, "dog": 1}
    assert found["skipped"] == {}
