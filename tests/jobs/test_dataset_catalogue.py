"""`hub datasets`: what its commands print, and their exit statuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from conf.sections import Lake
from conf.settings import Settings
from jobs.cli.command import run
from jobs.dataset_catalogue import FORMATS
from jobs.hub import hub
from organize.datasets.exports.export import Format
from tests.support import tiny

A, B = "ds-a", "ds-b"


@pytest.fixture
def own(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake with two datasets that are not registered, as after the loss of a table."""
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "lake"))
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    tiny.snapshot(own, A, (40, 4, 4), shard_rows=16)
    tiny.snapshot(own, B, (40, 4, 8), shard_rows=16)
    return own


def call(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    with pytest.raises(SystemExit) as left:
        run(hub, ["datasets", *arguments])
    shown = capsys.readouterr()
    assert left.value.code == status, shown.err
    return shown.err if status > 1 or not shown.out else shown.out


def call_json(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    result = json.loads(call(capsys, *arguments, "--json", status=status))
    assert isinstance(result, dict)
    return result


def test_datasets_are_listed_without_a_command(own: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    text = call(capsys)
    assert A in text and B in text and "40" in text
    found = call_json(capsys, "list")["datasets"]
    assert {each["dataset_id"]: each["counts"]["test"] for each in found} == {A: 4, B: 8}


def test_a_dataset_is_shown_with_its_problems(own: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    found = call_json(capsys, "show", A)
    assert found["counts_by_label"]["red"] == {"train": 10, "validation": 1, "test": 1}
    assert {"filter", "seed", "left_out", "sources", "manifest_sha256", "models"} <= set(found)
    text = call(capsys, "show", A)
    assert "across" in text and "not registered" in text


def test_an_unknown_dataset_is_one_line(own: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    text = call(capsys, "show", "ds-x", status=1)
    assert text == "hub datasets: error: no dataset 'ds-x': the newest are ds-b, ds-a\n"


def test_two_datasets_are_compared(own: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_json(capsys, "diff", A, B)["images_only_in_b"] == {"test": 4}
    assert "images only in b: 4 test" in call(capsys, "diff", A, B)
    assert "the same images" in call(capsys, "diff", A, A)


def test_verification_ends_with_1_and_names_the_altered_shard(
    own: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_json(capsys, "verify", A)["intact"] is True
    shard = Path(own.lake.at("snapshots", A, "train", "00016.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    found = call_json(capsys, "verify", A, status=1)
    assert [each["path"] for each in found["problems"]] == ["train/00016.parquet"]


def test_an_export_answers_with_path_format_images_and_seconds(
    own: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = call_json(capsys, "export", A, "--format", "coco", "--to", str(tmp_path / "out"))
    assert (found["path"], found["format"], found["images"]) == (str(tmp_path / "out"), "coco", 48)
    assert found["seconds"] > 0 and (tmp_path / "out" / "README.md").is_file()
    text = call(capsys, "export", A, "--to", str(tmp_path / "out"), status=1)
    assert "exists and is not empty" in text


def test_a_card_is_written(own: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call_json(capsys, "card", A, "--to", str(tmp_path / "card"))["files"] == 3
    assert {path.name for path in (tmp_path / "card").iterdir()} == {
        "README.md",
        "croissant.json",
        "samples.jpg",
    }


def test_a_dataset_is_deleted(own: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_json(capsys, "delete", A)["dataset_id"] == A
    assert [each["dataset_id"] for each in call_json(capsys, "list")["datasets"]] == [B]


def test_the_flag_has_all_formats() -> None:
    assert tuple(Format) == FORMATS
