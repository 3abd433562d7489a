"""Payload offloading (claim check pattern): write large pictures to a store, send a reference in the record.

An object's name is the sha256 of its content, so a picture that is sent again is stored only once.
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
from streaming.stores.objects import ObjectStore
from streaming.stores.prefetch import Prefetcher

if TYPE_CHECKING:
    from conf.settings import Settings


@dataclass(frozen=True)
class OffloadedItem:
    """A picture that is ready to send, inline or by reference, or the reason why it cannot be sent.

    Args:
        item: the picture.
        dataref: URI of the stored content; None if the content is sent inline.
        problem: error message; None if the picture can be sent.
    """

    item: Item
    dataref: str | None = None
    problem: str | None = None


class PayloadOffloader:
    """Writes pictures that are too large for a record to the payload store.

    Args:
        settings: of the hub; without `payloads.prefix` there is no store.
    """

    def __init__(self, settings: "Settings") -> None:
        self._prefix = settings.payloads.prefix
        self._inline_limit = settings.push.inline_limit
        if self._prefix:
            self._inline_limit = min(self._inline_limit, settings.payloads.inline_limit)
        self._prefetcher = Prefetcher(settings.payloads.threads, settings.s3.read_ahead_bytes)
        self._write = _writer(self._prefix, settings.s3) if self._prefix else None
        # Writes of equal pictures are serialised, so that the second one finds the stored first.
        self._locks = [threading.Lock() for _ in range(256)]

    def offload(self, items: Iterator[Item]) -> Iterator[OffloadedItem]:
        """Yield each picture in order; large ones after they are stored, several in parallel."""
        if self._write is None:
            return map(self._offload, items)
        return self._prefetcher.map(self._offload, items, lambda item: len(item.content))

    def _offload(self, item: Item) -> OffloadedItem:
        size = len(item.content)
        if size <= self._inline_limit:
            return OffloadedItem(item)
        if self._write is None:
            most = f"at most {self._inline_limit:,} are sent (push.inline_limit)"
            way_out = "set payloads.prefix to send larger ones by reference"
            return OffloadedItem(item, problem=f"{item.name}: {size:,} bytes, {most}; {way_out}")
        name = hashlib.sha256(item.content).hexdigest()
        try:
            with self._locks[int(name[:2], 16)]:
                self._write(name, item.content)
        except StreamingError as error:
            return OffloadedItem(item, problem=f"{item.name}: {error}")
        except OSError as error:
            return OffloadedItem(item, problem=f"{item.name}: {self._prefix}: {error.strerror or error}")
        return OffloadedItem(item, dataref=f"{self._prefix}/{name}")


# Takes a name and a content; writes the object unless it exists with this size.
Writer = Callable[[str, bytes], None]


def _writer(prefix: str, s3: S3) -> Writer:
    if prefix.startswith("file://"):
        return FolderStore(Path(prefix.removeprefix("file://")))
    return BucketStore(ObjectStore(s3), prefix)


@dataclass(frozen=True)
class FolderStore:
    """A local folder as the payload store.

    Args:
        path: created if missing.
    """

    path: Path

    def __call__(self, name: str, content: bytes) -> None:
        """Write a file atomically unless it exists with this size."""
        target = self.path / name
        if target.is_file() and target.stat().st_size == len(content):
            return
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self.path / f".{name}.{os.getpid()}.{threading.get_ident()}.partial"
        try:
            partial.write_bytes(content)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class BucketStore:
    """A prefix of a bucket as the payload store.

    Args:
        objects: the object store.
        prefix: s3://bucket or s3://bucket/path.
    """

    objects: ObjectStore
    prefix: str

    def __call__(self, name: str, content: bytes) -> None:
        """Write an object unless it exists with this size.

        Raises:
            ObjectError: the store refuses the request or does not answer.
        """
        target = Reference.parse(f"{self.prefix}/{name}")
        try:
            if self.objects.size(target.bucket, target.path) == len(content):
                return
        except StoreRefuses:
            pass  # the credentials may allow writing but not HEAD requests
        self.objects.write(target.bucket, target.path, content)
