"""Single rows written without Spark: a library that panics ends in one line."""

from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer
from lake.errors import StorageError
from lake.table import Table
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.registry.model_cards import State

MODEL = "resnet20-20261121-0812-3fa9c07e"


@pytest.fixture
def panicking(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a lake at whose path delta-rs panics; only code can name it, the setting is refused."""
    lake = Lake.model_construct(root=str(tmp_path / "[2024] photos" / "lake"))
    logs = settings.logs.model_copy(update={"dir": tmp_path / "logs"})
    return settings.model_copy(update={"lake": lake, "logs": logs})


def test_a_panic_of_delta_rs_is_one_line_and_its_trace_is_in_a_log(
    panicking: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StorageError) as caught:
        row_writer.append(panicking, Table.MODELS, {"model_id": MODEL})
    log = panicking.logs.dir / "delta.out"
    assert str(caught.value).startswith(f"cannot write {panicking.lake.root}/models: delta-rs failed: ")
    assert str(caught.value).endswith(f"see {log}") and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert "panicked" in log.read_text()


def test_a_model_whose_row_cannot_be_written_has_failed(panicking: Settings) -> None:
    plan = TrainingPlan.of(panicking, "ds-0", 2)
    with pytest.raises(StorageError):
        model_rows.register_run(panicking, MODEL, plan, ("cat", "dog"))
    card = model_cards.any_card(panicking, MODEL)
    assert card.state is State.FAILED and "delta-rs failed" in card.detail


def test_ctrl_c_is_no_panic(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deltalake, "write_deltalake", interrupt)
    with pytest.raises(KeyboardInterrupt):
        own = settings.model_copy(update={"lake": Lake(root=str(tmp_path))})
        row_writer.append(own, Table.MODELS, {"model_id": MODEL})


@pytest.mark.parametrize("name", ["100% mine", "c#", "Jürgens Bilder", "comma, blank", "a+b&c=d;e's"])
def test_rows_are_written_below_folders_of_almost_any_name(
    name: str, settings: Settings, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / name / "lake"))})
    row_writer.append(own, Table.MODELS, {"model_id": MODEL})
    row_writer.append(own, Table.MODELS, {"model_id": "other"})
    assert row_writer.update(own, Table.MODELS, "model_id", {"model_id": MODEL, "state": "ready"}) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})


def test_rows_are_appended_updated_read_and_deleted_by_key(own: Settings) -> None:
    columns = ("image_id", "label", "flags", "label_quality")
    assert row_writer.read(own, Table.SAMPLES, columns) == []
    assert row_writer.update(own, Table.SAMPLES, "image_id", {"image_id": "a", "label": "cat"}) == 0
    row_writer.append(
        own,
        Table.SAMPLES,
        {"image_id": "a'b", "label": "cat", "flags": ["dark"], "label_quality": 0.5},
        {"image_id": "c", "label": "dog"},
    )
    new = [{"image_id": name, "label": "owl", "flags": ["x", "y"]} for name in ("a'b", "unknown")]
    assert row_writer.update(own, Table.SAMPLES, "image_id", *new) == 1
    listed = row_writer.literal("a'b", "z")
    where = f"image_id IN ({listed})"
    assert row_writer.read(own, Table.SAMPLES, columns, where) == [
        {"image_id": "a'b", "label": "owl", "flags": ["x", "y"], "label_quality": 0.5}
    ]
    assert row_writer.delete(own, Table.SAMPLES, where) == 1
    assert [row["image_id"] for row in row_writer.read(own, Table.SAMPLES, columns)] == ["c"]


def test_columns_that_an_older_hub_did_not_write_are_none(own: Settings) -> None:
    deltalake.write_deltalake(own.lake.at(Table.SAMPLES), pa.table({"image_id": ["a"], "label": ["cat"]}))
    columns = ("image_id", "cluster")
    assert row_writer.read(own, Table.SAMPLES, columns) == [{"image_id": "a", "cluster": None}]
