"""Pictures in a bucket: objects below a prefix and members of archives there, without a local copy."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from conf.sections import S3, Push
from streaming.errors import BadSource, NoSuchObject, ObjectChanged, ObjectTooLarge, StoreRefuses
from streaming.sources.archives import Packed, archive
from streaming.sources.folders import refuse_without_pictures
from streaming.sources.items import Item, Labelling, Skipped, Source, is_picture, printable, unwanted
from streaming.stores import ranged_file
from streaming.stores.objects import Entry, Objects
from streaming.stores.prefetch import Prefetcher

_URI = re.compile(r"s3a?://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>.*))?", re.DOTALL)
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True)
class Prefix:
    """Pictures below a prefix of a bucket, in the order of their keys.

    Args:
        objects: the store.
        bucket: whose objects are read.
        prefix: empty, or ending in a slash.
        limits: sizes that are read.
        labelling: as for a folder, whose name is the prefix's last part.
    """

    objects: Objects
    bucket: str
    prefix: str
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read every picture, a few objects ahead; what goes, changes or is refused meanwhile is left out.

        Raises:
            ObjectError: the store stops answering.
        """
        settings = self.objects.settings
        ahead = Prefetcher(settings.threads, settings.read_ahead_bytes)
        loaded = ahead.map(self._load, self._wanted(skipped), lambda entry: self._held(entry))
        root = self.prefix.rstrip("/").rpartition("/")[2] or self.bucket
        for entry, content, reason in loaded:
            name = self._name(entry)
            if reason is None and _is_archive(entry):
                yield from self._members(entry, skipped)
                continue
            if reason is None and not is_picture(name, content):
                reason = "no picture by its content"
            if reason is not None:
                skipped.add(reason, name)
                continue
            yield Item(name, content, self.labelling.of(f"{root}/{name}"))

    def _wanted(self, skipped: Skipped) -> Iterator[Entry]:
        for entry in self.objects.entries(self.bucket, self.prefix):
            name = self._name(entry)
            if entry.key.endswith("/"):
                continue  # what consoles put to show a folder
            reason = unwanted(name)
            if _is_archive(entry) and reason == "no picture by its ending":
                reason = None
            elif reason is None and entry.size > self.limits.member_limit:
                reason = "too large to be read"
            if reason is None:
                yield entry
            else:
                skipped.add(reason, name)

    def _held(self, entry: Entry) -> int:
        return 0 if _is_archive(entry) else entry.size

    def _load(self, entry: Entry) -> tuple[Entry, bytes, str | None]:
        """The object, its content, and the reason to leave it out."""
        if _is_archive(entry):
            return entry, b"", None
        try:
            content = self.objects.read(entry.bucket, entry.key, self.limits.member_limit, entry.etag or None)
        except NoSuchObject:
            return entry, b"", "gone before it was read"
        except (ObjectChanged, ObjectTooLarge):
            return entry, b"", "changed before it was read"
        except StoreRefuses:
            return entry, b"", "refused by the store"
        return entry, content, None

    def _members(self, entry: Entry, skipped: Skipped) -> Iterator[Item]:
        try:
            source = _archive(self.objects, entry, self.limits, self.labelling)
            if source is None:
                raise BadSource(f"{entry}: neither a zip nor a tar")
            yield from source.items(skipped)
        except (BadSource, OSError, StoreRefuses):
            skipped.add("archive that cannot be read", self._name(entry))

    def _name(self, entry: Entry) -> str:
        return printable(entry.key.removeprefix(self.prefix))


def is_uri(location: str) -> bool:
    """Whether a location is meant as a place in a bucket."""
    return location.startswith(("s3://", "s3a://"))


def open_source(location: str, labelling: Labelling, limits: Push, s3: S3) -> Source:
    """The objects below s3://bucket/prefix, or the archive that is the object of this name.

    Raises:
        BadSource: it is no such URI, there is nothing there, or no picture has a label.
        ObjectError: the store refuses or does not answer.
    """
    match = _URI.fullmatch(location)
    if match is None:
        raise BadSource(f"{location}: no place in a bucket; write s3://bucket/prefix")
    bucket, key = match["bucket"], match["key"] or ""
    objects = Objects(s3)
    entry = objects.find(bucket, key) if key and not key.endswith("/") else None
    source: Source | None = Prefix(objects, bucket, key and f"{key.rstrip('/')}/", limits, labelling)
    try:
        if entry is not None:
            source = _archive(objects, entry, limits, labelling)
        if source is None:
            raise BadSource(f"{location}: neither a zip nor a tar; give a prefix, a zip or a tar")
        refuse_without_pictures(location, source, labelling)
    except OSError as error:
        raise BadSource(f"{location}: cannot be read: {error}") from None
    return source


def _archive(objects: Objects, entry: Entry, limits: Push, labelling: Labelling) -> Source | None:
    return archive(Packed(str(entry), partial(ranged_file.opened, objects, entry)), limits, labelling)


def _is_archive(entry: Entry) -> bool:
    return entry.key.lower().endswith(_ARCHIVES)
