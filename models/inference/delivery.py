"""Export a model's files to a folder or an object store, all or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from conf.settings import Settings
from lake.storage import Storage
from models.errors import ExportRefused
from models.evaluation import artifacts
from models.formats.export import KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8
from models.inference import export_target
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

    The files by which readers find a model (`model.json`, a SavedModel's `saved_model.pb`) are written last.

    Args:
        settings: of the hub.
        model_id: of a ready model.
        target: folder, or s3:// URI of a prefix.
        formats: keys of `FORMATS`; labels.txt is added. Empty exports all artifacts.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
        ExportRefused: the target is not empty, or the model lacks a format.
        InUse: another export writes to this prefix of an object store.
        StorageError: a file cannot be read or written.
    """
    model_cards.ready_card(settings, model_id)
    source = model_cards.artifact_storage(settings, model_id)
    names = _select_files(source, model_id, formats)
    files = ((name, source.read(name)) for name in names)
    written = export_target.write(target, files, settings, "models export")
    return Delivery(written.path, tuple(names), written.bytes)


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
