"""Which embeddings have been through which stage: a note in the lake, written after each chunk.

Embeddings are committed before the stages run, since stages search them. A process that is killed in between
leaves embeddings that are newer than the note; the next one runs the stages for them.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage
from organize.errors import OrganizeError
from organize.features.embeddings import BEGINNING

_MICROSECOND = timedelta(microseconds=1)


def read(settings: Settings, model_id: str) -> dict[str, datetime]:
    """Stage name to the time of the newest embeddings that it has handled.

    Raises:
        OrganizeError: the note cannot be read.
    """
    storage, name = _note(settings, model_id)
    if not storage.exists(name):
        return {}
    try:
        content: dict[str, Any] = storage.read_json(name)
        return {stage: BEGINNING + int(micros) * _MICROSECOND for stage, micros in content.items()}
    except (StorageError, ValueError, TypeError) as error:
        raise OrganizeError(
            f"{storage.root}/{name} cannot be read ({error}): delete it; then all images are grouped, "
            "clustered and scored again, with the same results"
        ) from None


def write(settings: Settings, model_id: str, done: Mapping[str, datetime]) -> None:
    """Record what is done."""
    storage, name = _note(settings, model_id)
    storage.write_json(name, {stage: (time - BEGINNING) // _MICROSECOND for stage, time in done.items()})


def unfinished(
    done: Mapping[str, datetime], stages: Iterable[str], times: Iterable[datetime]
) -> list[tuple[datetime, list[str]]]:
    """The commits of embeddings that some stage has not handled, oldest first, with the names of these."""
    names = list(stages)
    pending = [(time, [name for name in names if time > done.get(name, BEGINNING)]) for time in sorted(times)]
    return [(time, missing) for time, missing in pending if missing]


def _note(settings: Settings, model_id: str) -> tuple[Storage, str]:
    return Storage(settings.lake.at("checkpoints"), settings.s3), f"organized-{model_id}.json"
