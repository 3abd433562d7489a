"""Export a model's files to a folder or an object store, all or nothing."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage
from models.errors import ExportRefused
from models.evaluation import artifacts
from models.formats.export import KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8
from models.registry import model_cards

FORMATS = {"keras": KERAS, "saved_model": SAVED_MODEL, "tflite": TFLITE, "tflite-int8": TFLITE_INT8}
TRAINING_STATE = ("checkpoints/", "start.npz", "tensorboard/")  # only needed to train
# Files that readers look for first are written last, so that an incomplete export is not found.
_WRITTEN_LAST = (model_cards.CARD_FILE, f"{SAVED_MODEL}/saved_model.pb")


@dataclass(frozen=True)
class Delivery:
    """Result of an export: target, files relative to it, and their total size (bytes)."""

    target: str
    files: tuple[str, ...]
    size: int


def export(settings: Settings, model_id: str, target: str, formats: Sequence[str] = ()) -> Delivery:
    """Copy a model's files to a folder or an object store.

    A folder is renamed into place when complete. An object store has no rename, so the files by which readers
    find a model (`model.json`, a SavedModel's `saved_model.pb`) are written last, and all written files are
    deleted if one fails.

    Args:
        settings: of the hub.
        model_id: of a ready model.
        target: folder, or s3:// URI of a prefix.
        formats: keys of `FORMATS`; labels.txt is added. Empty exports all artifacts.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
        ExportRefused: the target is not empty, or the model lacks a format.
        StorageError: a file cannot be read or written.
    """
    model_cards.ready_card(settings, model_id)
    source = model_cards.artifact_storage(settings, model_id)
    names = _select_files(source, model_id, formats)
    storage = Storage(target if "://" in target else str(Path(target).expanduser().absolute()), settings.s3)
    refuse_used(storage, target)
    if "://" in target:
        size = _copy_to_object_store(source, storage, names)
    else:
        size = _copy_to_folder(source, Path(storage.root), names)
    return Delivery(storage.root, tuple(names), size)


def _select_files(source: Storage, model_id: str, formats: Sequence[str]) -> list[str]:
    existing = [name for name in source.list_files() if not name.startswith(TRAINING_STATE)]
    if not formats:
        return sorted(existing, key=lambda name: (name in _WRITTEN_LAST, name))
    selected = [artifacts.LABELS] if artifacts.LABELS in existing else []
    for key in formats:
        path = FORMATS[key]
        files = [name for name in existing if name == path or name.startswith(f"{path}/")]
        if not files:
            raise ExportRefused(f"model {model_id} has no {path}: an older hub trained it; train it again")
        selected += files
    return sorted(set(selected), key=lambda name: (name in _WRITTEN_LAST, name))


def refuse_used(storage: Storage, target: str) -> None:
    """Refuse a target of an export that exists and is not empty.

    Raises:
        ExportRefused: it is a file, or has files.
        StorageError: it cannot be accessed.
    """
    try:
        not_empty = storage.exists("") or bool(storage.list_files())
    except OSError as error:
        raise StorageError(f"cannot access {target}: {' '.join(str(error).split())[:200]}") from None
    if not_empty:
        raise ExportRefused(f"--to {target} exists and is not empty: name another target, or empty this one")


def _copy_to_folder(source: Storage, target: Path, names: Sequence[str]) -> int:
    """Copy into a hidden folder beside the target, then rename it to the target."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as hidden:
            local = Path(hidden) / target.name
            size = sum(_copy_file(source, local, name) for name in names)
            local.replace(target)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from None
    return size


def _copy_file(source: Storage, folder: Path, name: str) -> int:
    content, path = source.read(name), folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return len(content)


def _copy_to_object_store(source: Storage, storage: Storage, names: Sequence[str]) -> int:
    size = 0
    try:
        for name in names:
            content = source.read(name)
            storage.write(name, content)
            size += len(content)
    except BaseException:
        storage.delete_all()
        raise
    return size
