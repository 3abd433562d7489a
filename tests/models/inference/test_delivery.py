"""`hub models export`: export to a folder or an object store, all or nothing."""

import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conf.settings import Settings
from lake.errors import StorageError
from models.errors import ExportRefused
from models.formats import export
from models.formats.export import KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8, ExportableModel
from models.inference import delivery, prediction
from models.registry import model_cards
from tests.support import colours
from tests.support.s3server import Bucket

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files while the model is written."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def model_id(settings: Settings, temporary: Path) -> str:
    """A model with all formats, labels, and a checkpoint, which is not exported."""
    made = colours.model(settings, "by-hand-20261121-0800-0007")
    files = model_cards.artifact_storage(settings, made)
    model = ExportableModel(prediction.load_model(settings, made).keras, made, tuple(colours.COLOURS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        export.write(model, files)
    pictures = np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    export.write_tflite(model, files, pictures)
    files.write("labels.txt", b"blue\ngreen\nred\n")
    files.write_json("metrics.json", {})
    files.write("checkpoints/epoch-00001/variables.npz", b"")
    return made


def with_file_size_limit(work: Callable[[], object], size: int) -> None:
    """Run `work` with a limit on file sizes, as if the disk were full, for this process only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_export_is_complete_or_absent(model_id: str, settings: Settings, tmp_path: Path) -> None:
    target = tmp_path / "out" / "phone"
    with pytest.raises(StorageError, match=f"cannot write {target}"):
        with_file_size_limit(lambda: delivery.export(settings, model_id, str(target)), 5_000)
    assert list((tmp_path / "out").iterdir()) == [], "an incomplete export was left"
    done = delivery.export(settings, model_id, str(target))
    written = {file.relative_to(target).as_posix() for file in target.rglob("*") if file.is_file()}
    assert written == set(done.files) >= {KERAS, TFLITE, TFLITE_INT8, "metrics.json", model_cards.CARD_FILE}
    assert not any(name.startswith(("checkpoints", "tensorboard")) for name in written)
    assert done.size == sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    with pytest.raises(ExportRefused, match="exists and is not empty"):
        delivery.export(settings, model_id, str(target))
    with pytest.raises(ExportRefused, match="exists and is not empty"):
        delivery.export(settings, model_id, str(target / KERAS))


def test_no_temporary_files_remain(model_id: str, temporary: Path) -> None:
    assert model_id and list(temporary.iterdir()) == [], "AutoGraph left files"


def test_one_format_comes_with_its_labels(model_id: str, settings: Settings, tmp_path: Path) -> None:
    for model_format, path in delivery.FORMATS.items():
        done = delivery.export(settings, model_id, str(tmp_path / model_format), [model_format])
        others = [name for name in done.files if not name.startswith(path)]
        assert others == ["labels.txt"] and len(done.files) >= 2


def test_an_export_to_an_object_store_writes_the_model_card_last(
    model_id: str, settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION", raising=False)  # as users have it
    there = settings.model_copy(update={"s3": bucket.s3})
    target = f"s3://{bucket.name}/models/one"
    done = delivery.export(there, model_id, target)
    listed = [entry["Key"] for entry in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]]
    files = {key for key in listed if not key.endswith("/")}  # this server lists folders, too
    assert files == {f"models/one/{name}" for name in done.files}
    assert set(done.files[-2:]) == {model_cards.CARD_FILE, f"{SAVED_MODEL}/saved_model.pb"}
    with pytest.raises(ExportRefused, match="exists and is not empty"):
        delivery.export(there, model_id, target)
    with pytest.raises(StorageError, match="cannot"):
        delivery.export(there, model_id, "s3://no-such-bucket-at-all/models")
