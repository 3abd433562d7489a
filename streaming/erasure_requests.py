"""Erasures that people have asked for: noted in the lake until whoever holds it carries them out.

A running ingestion holds the lake, so it carries them out itself, between two micro-batches.
"""

from datetime import UTC, datetime
from hashlib import blake2b

from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage


def ask(settings: Settings, user: str) -> None:
    """Note that a user wants to be erased. Repeating it changes nothing.

    Raises:
        StorageError: the lake cannot be written.
    """
    asked = datetime.now(UTC).isoformat(timespec="seconds")
    _folder(settings).write_json(_name(user), {"user": user, "asked": asked})


def waiting(settings: Settings) -> list[str]:
    """Users who wait to be erased.

    Raises:
        StorageError: the lake cannot be read.
    """
    folder = _folder(settings)
    names = [name for name in folder.list_files() if name.endswith(".json") and not name.startswith(".")]
    return sorted(str(folder.read_json(name)["user"]) for name in names)


def waits(settings: Settings, user: str) -> bool:
    """Whether a user waits to be erased; raises as `waiting`."""
    return _folder(settings).exists(_name(user))


def end(settings: Settings, user: str, out_of_reach: list[str]) -> None:
    """Replace the note by a report of what the erasure could not reach; it does not name the user."""
    name = _name(user)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    reports = Storage(settings.lake.at("erasures", "reports"), settings.s3)
    reports.write_json(name, {"ended": ended, "out_of_reach": out_of_reach})
    try:
        _folder(settings).delete_files(name)
    except StorageError:
        if waits(settings, user):
            raise


def _folder(settings: Settings) -> Storage:
    return Storage(settings.lake.at("erasures", "asked"), settings.s3)


def _name(user: str) -> str:
    return f"{blake2b(user.encode(), digest_size=16).hexdigest()}.json"
