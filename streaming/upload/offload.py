"""Claim checks: pictures too large to travel in a record go to a store first, and a reference in their place.

An object's name is the sha256 of its content, so a picture that is sent again is stored once.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conf.sections import S3
from streaming.contract.references import Reference
from streaming.errors import StoreRefuses, StreamingError
from streaming.sources.items import Item
from streaming.stores.objects import Objects
from streaming.stores.prefetch import Prefetcher

if TYPE_CHECKING:
    from conf.settings import Settings


@dataclass(frozen=True)
class OffloadedItem:
    """A picture on its way to Kafka.

    Args:
        item: the picture.
        dataref: where its bytes lie where they do not travel inline.
        problem: why it cannot be sent, where it cannot.
    """

    item: Item
    dataref: str | None = None
    problem: str | None = None


class PayloadOffloader:
    """Puts larger pictures into the store that the settings name, or says why they cannot be sent.

    Args:
        settings: of the hub; `payloads.prefix` empty means that there is no store.
    """

    def __init__(self, settings: "Settings") -> None:
        self._ceiling = settings.push.inline_limit
        self._prefix = settings.payloads.prefix
        self._inline = min(self._ceiling, settings.payloads.inline_limit) if self._prefix else self._ceiling
        self._ahead = Prefetcher(settings.payloads.threads, settings.s3.read_ahead_bytes)
        self._store = _store(self._prefix, settings.s3) if self._prefix else None
        # Equal pictures take turns, so that the second one finds the first.
        self._turns = [threading.Lock() for _ in range(256)]

    def parcels(self, items: Iterator[Item]) -> Iterator[OffloadedItem]:
        """Each picture, in order; larger ones once the store has them, a few at once."""
        if self._store is None:
            return map(self._parcel, items)
        return self._ahead.map(self._parcel, items, lambda item: len(item.content))

    def _parcel(self, item: Item) -> OffloadedItem:
        size = len(item.content)
        if size <= self._inline:
            return OffloadedItem(item)
        if self._store is None:
            most = f"at most {self._ceiling:,} are sent (push.inline_limit)"
            way_out = "set payloads.prefix to send larger ones by reference"
            return OffloadedItem(item, problem=f"{item.name}: {size:,} bytes, {most}; {way_out}")
        name = hashlib.sha256(item.content).hexdigest()
        try:
            with self._turns[int(name[:2], 16)]:
                self._store(name, item.content)
        except StreamingError as error:
            return OffloadedItem(item, problem=f"{item.name}: {error}")
        except OSError as error:
            return OffloadedItem(item, problem=f"{item.name}: {self._prefix}: {error.strerror or error}")
        return OffloadedItem(item, dataref=f"{self._prefix}/{name}")


# Takes a name and a content, and stores it unless it is there.
Store = Callable[[str, bytes], None]


def _store(prefix: str, s3: S3) -> Store:
    if prefix.startswith("file://"):
        return FolderStore(Path(prefix.removeprefix("file://")))
    return BucketStore(Objects(s3), prefix)


@dataclass(frozen=True)
class FolderStore:
    """A folder as a store.

    Args:
        path: made where it is missing.
    """

    path: Path

    def __call__(self, name: str, content: bytes) -> None:
        """Store a content; a reader sees all of it or nothing."""
        place = self.path / name
        if place.is_file() and place.stat().st_size == len(content):
            return
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self.path / f".{name}.{os.getpid()}.{threading.get_ident()}.partial"
        try:
            partial.write_bytes(content)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class BucketStore:
    """A prefix of a bucket as a store.

    Args:
        objects: the store it is part of.
        prefix: s3://bucket or s3://bucket/path.
    """

    objects: Objects
    prefix: str

    def __call__(self, name: str, content: bytes) -> None:
        """Store a content unless an object of its name and size is there.

        Raises:
            ObjectError: the store refuses or does not answer.
        """
        at = Reference.parse(f"{self.prefix}/{name}")
        try:
            if self.objects.size(at.bucket, at.path) == len(content):
                return
        except StoreRefuses:
            pass  # looking may be forbidden where writing is not
        self.objects.write(at.bucket, at.path, content)
