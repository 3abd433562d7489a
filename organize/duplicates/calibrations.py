"""The calibration of a lake, kept beside its tables."""

from dataclasses import asdict
from typing import Any

from conf.settings import Settings
from lake.erasure.groups import FOLDER
from lake.errors import StorageError
from lake.storage import Storage
from organize.duplicates import search
from organize.duplicates.calibration import SAMPLE, Calibration, calibrate, random_pairs
from organize.duplicates.picture_store import PictureStore
from organize.duplicates.search import Cosines, no_cosines

_CALIBRATION = "calibration.json"


def update(settings: Settings, store: PictureStore, cosines: Cosines = no_cosines) -> Calibration:
    """Calibrate on the pictures in the store, and save the result in the lake if it has changed.

    Only random pairs that were not compared before are compared.
    """
    known = store.random_significances()
    wanted = random_pairs(store.first_images(SAMPLE))
    new = [pair for pair in wanted if pair not in known]
    if new or len(known) != len(wanted):
        known |= search.significance_of(store, new, cosines)
        known = {pair: known[pair] for pair in wanted if pair in known}
        store.set_random_significances(known)
    result = calibrate(sorted(known.values()), len(store))
    if result != read(settings):
        _folder(settings).write_json(_CALIBRATION, asdict(result))
    return result


def read(settings: Settings) -> Calibration | None:
    """The calibration of a lake; None before its first pictures were grouped."""
    folder = _folder(settings)
    if not folder.exists(_CALIBRATION):
        return None
    try:
        values: dict[str, Any] = folder.read_json(_CALIBRATION)
        return Calibration(**values)
    except (ValueError, TypeError) as error:
        raise StorageError(f"{folder.root}/{_CALIBRATION} is no calibration: delete it ({error})") from None


def _folder(settings: Settings) -> Storage:
    return Storage(settings.lake.at(FOLDER), settings.s3)
