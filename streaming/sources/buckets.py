"""Read pictures from an S3 bucket: objects below a prefix and members of archives, without a local copy."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from conf.sections import S3, Push
from streaming.errors import BadSource, NoSuchObject, ObjectChanged, ObjectTooLarge, StoreRefuses
from streaming.sources.archives import ArchiveFile, open_archive
from streaming.sources.folders import require_labelled_picture
from streaming.sources.items import Item, Skipped, Source, printable
from streaming.sources.labels.labelling import Labelling
from streaming.sources.picture_files import HEAD_BYTES, content_decides, is_picture, skip_reason
from streaming.stores import ranged_file
from streaming.stores.objects import ObjectStore, ObjectSummary
from streaming.stores.prefetch import Prefetcher

_URI = re.compile(r"s3a?://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>.*))?", re.DOTALL)
_Loaded = tuple[ObjectSummary, bytes, str | None]
_ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True)
class BucketSource:
    """The pictures below a prefix of a bucket, in the order of their keys.

    Args:
        store: the object store.
        bucket: name of the bucket.
        prefix: empty, or ends with a slash.
        limits: size limits.
        labelling: as for a folder that is named by the last part of the prefix.
    """

    store: ObjectStore
    bucket: str
    prefix: str
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    @property
    def root(self) -> str:
        """The last part of the prefix, or the bucket's name."""
        return self.prefix.rstrip("/").rpartition("/")[2] or self.bucket

    def items(self, skipped: Skipped, names_only: bool = False) -> Iterator[Item]:
        """Read every picture, with prefetch; objects that were deleted, changed or refused are skipped.

        Raises:
            ObjectError: the store stops answering.
        """
        settings = self.store.settings
        prefetcher = Prefetcher(settings.threads, settings.read_ahead_bytes)
        load = self._load_beginning if names_only else self._load
        loaded = prefetcher.map(load, self._candidates(skipped), self._bytes_to_load)
        root = self.root
        for summary, content, reason in loaded:
            name = self._name(summary)
            if reason is None and _is_archive(summary):
                yield from self._archive_items(summary, skipped, names_only)
            elif reason is None:
                yield self.labelling.item(name, b"" if names_only else content, root)
            else:
                skipped.add(reason, name)

    def _candidates(self, skipped: Skipped) -> Iterator[ObjectSummary]:
        for summary in self.store.list_objects(self.bucket, self.prefix):
            name = self._name(summary)
            if summary.key.endswith("/"):
                continue  # S3 consoles create such an object for a folder
            reason = skip_reason(name)
            if _is_archive(summary) and reason == "no picture by its ending":
                reason = None
            elif reason is None and summary.size > self.limits.member_limit:
                reason = "too large to be read"
            if reason is None:
                yield summary
            else:
                skipped.add(reason, name)

    def _bytes_to_load(self, summary: ObjectSummary) -> int:
        return 0 if _is_archive(summary) else summary.size

    def _load(self, summary: ObjectSummary) -> _Loaded:
        """The object, its content, and the skip reason or None."""
        if _is_archive(summary):
            return summary, b"", None
        _, content, reason = self._load_beginning(summary)
        if reason is not None or len(content) == summary.size:
            return summary, content, reason
        limit, etag = self.limits.member_limit, summary.etag or None
        return self._attempt(summary, lambda: self.store.read(summary.bucket, summary.key, limit, etag))

    def _load_beginning(self, summary: ObjectSummary) -> _Loaded:
        """As `_load`, but only what shows whether the object is a picture, if its name leaves that open."""
        if _is_archive(summary) or not content_decides(self._name(summary)):
            return summary, b"", None
        size = min(HEAD_BYTES, summary.size)
        _, content, reason = self._attempt(
            summary, lambda: self.store.read_range(summary, 0, size) if size else b""
        )
        if reason is None and not is_picture(self._name(summary), content):
            reason = "no picture by its content"
        return summary, content, reason

    def _attempt(self, summary: ObjectSummary, read: Callable[[], bytes]) -> _Loaded:
        try:
            return summary, read(), None
        except NoSuchObject:
            return summary, b"", "gone before it was read"
        except (ObjectChanged, ObjectTooLarge):
            return summary, b"", "changed before it was read"
        except StoreRefuses:
            return summary, b"", "refused by the store"

    def _archive_items(self, summary: ObjectSummary, skipped: Skipped, names_only: bool) -> Iterator[Item]:
        try:
            source = _open_archive(self.store, summary, self.limits, self.labelling)
            if source is None:
                raise BadSource(f"{summary}: neither a zip nor a tar")
            yield from source.items(skipped, names_only)
        except (BadSource, OSError, StoreRefuses):
            skipped.add("archive that cannot be read", self._name(summary))

    def _name(self, summary: ObjectSummary) -> str:
        return printable(summary.key.removeprefix(self.prefix))


def is_uri(location: str) -> bool:
    """Whether a location begins with s3:// or s3a://."""
    return location.startswith(("s3://", "s3a://"))


def open_source(location: str, labelling: Labelling, limits: Push, s3: S3) -> Source:
    """Open the objects below s3://bucket/prefix, or the archive s3://bucket/key.

    Raises:
        BadSource: the URI is malformed, nothing is there, or no picture has a label.
        ObjectError: the store refuses a request or does not answer.
    """
    match = _URI.fullmatch(location)
    if match is None:
        raise BadSource(f"{location}: not a valid S3 URI; write s3://bucket/prefix")
    bucket, key = match["bucket"], match["key"] or ""
    store = ObjectStore(s3)
    summary = store.find(bucket, key) if key and not key.endswith("/") else None
    source: Source | None = BucketSource(store, bucket, key and f"{key.rstrip('/')}/", limits, labelling)
    try:
        if summary is not None:
            source = _open_archive(store, summary, limits, labelling)
        if source is None:
            raise BadSource(f"{location}: neither a zip nor a tar; give a prefix, a zip or a tar")
        require_labelled_picture(location, source, labelling)
    except OSError as error:
        raise BadSource(f"{location}: cannot be read: {error}") from None
    return source


def _open_archive(
    store: ObjectStore, summary: ObjectSummary, limits: Push, labelling: Labelling
) -> Source | None:
    file = ArchiveFile(str(summary), partial(ranged_file.open_object, store, summary))
    return open_archive(file, limits, labelling)


def _is_archive(summary: ObjectSummary) -> bool:
    return summary.key.lower().endswith(_ARCHIVE_ENDINGS)
