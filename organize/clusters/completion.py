"""Whether the clusters of a lake are complete, and of the method of today: a note in the lake.

A formation writes the table of clusters first and the samples afterwards. Before, it takes the note away, and
it writes it at the end. So clusters are formed anew that an interrupted formation left, or a hub that formed
them in another way.
"""

from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage

METHOD = 2  # numbers of clusters by the gap statistic; a greater one lets every lake form its clusters anew


def is_complete(settings: Settings, model_id: str) -> bool:
    """Whether the last formation has ended, and its method is that of today."""
    storage, name = _note(settings, model_id)
    try:
        return storage.exists(name) and storage.read_json(name) == {"method": METHOD}
    except (StorageError, ValueError):
        return False


def begin(settings: Settings, model_id: str) -> None:
    """Note that clusters and samples may differ from now on."""
    storage, name = _note(settings, model_id)
    storage.write_json(name, {"method": None})


def finish(settings: Settings, model_id: str) -> None:
    """Note that every sample has its cluster."""
    storage, name = _note(settings, model_id)
    storage.write_json(name, {"method": METHOD})


def _note(settings: Settings, model_id: str) -> tuple[Storage, str]:
    return Storage(settings.lake.at("checkpoints"), settings.s3), f"clusters-{model_id}.json"
