"""A model's files brought to where they are needed, all of them or nothing."""

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
STATE_OF_TRAINING = ("checkpoints/", "start.npz", "tensorboard/")  # of no use to those who use a model
# What a reader looks for first: on an object store it comes last, so that what is not whole is not found.
_LAST = (model_cards.CARD, f"{SAVED_MODEL}/saved_model.pb")


@dataclass(frozen=True)
class Delivery:
    """What was exported: where to, and the files, relative to it."""

    target: str
    files: tuple[str, ...]
    size: int


def export(settings: Settings, model_id: str, target: str, formats: Sequence[str] = ()) -> Delivery:
    """Copy a model's files to a folder or an object store.

    A folder appears whole or not at all. On an object store, where nothing can be renamed, what says that a
    model is there (`model.json`, a SavedModel's `saved_model.pb`) is written last, and what was written is
    removed if the rest fails.

    Args:
        settings: of the hub.
        model_id: of a ready model.
        target: folder, or s3:// URI of a prefix.
        formats: keys of `FORMATS`, which come with labels.txt; all artifacts if empty.

    Raises:
        UnknownModel, UnusableModel: there is none of this id, or it is not ready.
        ExportRefused: the target holds something, or the model has no such format.
        StorageError: a file cannot be read or written.
    """
    model_cards.card(settings, model_id)
    source = model_cards.artifacts(settings, model_id)
    names = _chosen(source, model_id, formats)
    place = Storage(target if "://" in target else str(Path(target).expanduser().absolute()), settings.s3)
    _refuse_existing(place, target)
    if "://" in target:
        size = _to_objects(source, place, names)
    else:
        size = _to_folder(source, Path(place.root), names)
    return Delivery(place.root, tuple(names), size)


def _chosen(source: Storage, model_id: str, formats: Sequence[str]) -> list[str]:
    there = [name for name in source.names() if not name.startswith(STATE_OF_TRAINING)]
    if not formats:
        return sorted(there, key=lambda name: (name in _LAST, name))
    found = [artifacts.LABELS] if artifacts.LABELS in there else []
    for shape in formats:
        path = FORMATS[shape]
        files = [name for name in there if name == path or name.startswith(f"{path}/")]
        if not files:
            raise ExportRefused(f"model {model_id} has no {path}: an older hub trained it, train it again")
        found += files
    return sorted(set(found), key=lambda name: (name in _LAST, name))


def _refuse_existing(place: Storage, target: str) -> None:
    try:
        taken = place.exists("") or bool(place.names())
    except OSError as error:
        raise StorageError(f"cannot look at {target}: {' '.join(str(error).split())[:200]}") from None
    if taken:
        raise ExportRefused(f"--to {target} holds something already: name another place, or empty this one")


def _to_folder(source: Storage, target: Path, names: Sequence[str]) -> int:
    """Into a hidden folder beside the target, which then takes its name in one step."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as made:
            local = Path(made) / target.name
            size = sum(_copied(source, local, name) for name in names)
            local.replace(target)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from None
    return size


def _copied(source: Storage, folder: Path, name: str) -> int:
    content, path = source.read(name), folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return len(content)


def _to_objects(source: Storage, place: Storage, names: Sequence[str]) -> int:
    size = 0
    try:
        for name in names:
            content = source.read(name)
            place.write(name, content)
            size += len(content)
    except BaseException:
        place.delete()
        raise
    return size
