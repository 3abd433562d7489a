"""Where pictures come from: a folder, a zip, a tar. Read lazily; an archive is never unpacked to disk."""

import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from conf.errors import UsageError
from conf.settings import Push
from streaming.errors import BadSource

# Others are not sent; broken pictures are, since refusing them is the hub's work.
_PICTURES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
    ]
)
_RATIO_FLOOR = 1 << 20  # a small member may be packed as well as it likes


@dataclass(frozen=True)
class Item:
    """A picture of a source: its path there, its bytes, its label if one could be told."""

    name: str
    content: bytes
    label: str | None


class Source(Protocol):
    """Something that pictures can be read from, again and again."""

    def items(self, passed_over: Counter[str]) -> Iterator[Item]:
        """Read all pictures once; counts what is passed over, by reason."""
        ...


@dataclass(frozen=True)
class Labelling:
    """How a label is told from a path.

    Args:
        pattern: searched in the file name, its group `label` is the label; None takes the parent folder.
    """

    pattern: re.Pattern[str] | None = None

    @classmethod
    def by(cls, pattern: str | None) -> "Labelling":
        """A labelling by a regular expression, or by folder where it is None.

        Raises:
            UsageError: it is no regular expression or lacks the group `label`.
        """
        if pattern is None:
            return cls()
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--label-pattern {pattern!r} is no regular expression: {error}") from None
        if "label" not in compiled.groupindex:
            raise UsageError(f"--label-pattern {pattern!r} has no group named label: write (?P<label>…)")
        return cls(compiled)

    def of(self, name: str) -> str | None:
        """The label of a path with `/` between its parts; None where it shows none."""
        path = PurePosixPath(name)
        if self.pattern is None:
            return path.parent.name or None
        match = self.pattern.search(path.name)
        return match["label"] if match else None


@dataclass(frozen=True)
class Folder:
    """Pictures below a folder, in the order of their paths."""

    path: Path
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, passed_over: Counter[str]) -> Iterator[Item]:
        """Read every picture; links that lead out of the folder are passed over."""
        root = self.path.resolve()
        for file in self._files(root):
            name = file.relative_to(root).as_posix()
            reason = unwanted(name)
            if reason is None and not file.resolve().is_relative_to(root):
                reason = "leads out of the folder"
            if reason is not None:
                passed_over[reason] += 1
                continue
            # A picture right in the folder is labelled by the folder's own name.
            yield Item(name, file.read_bytes(), self.labelling.of(f"{root.name}/{name}"))

    def _files(self, folder: Path) -> Iterator[Path]:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                yield from self._files(entry)
            elif entry.is_file():
                yield entry


@dataclass(frozen=True)
class ZipArchive:
    """Pictures in a zip file."""

    path: Path
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, passed_over: Counter[str]) -> Iterator[Item]:
        """Read every picture, one member at a time; hostile and damaged members are passed over."""
        try:
            archive = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise BadSource(f"{self.path}: cannot be read as a zip file: {error}") from None
        with archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                reason = unwanted(member.filename) or self._refusal(member)
                try:
                    content = b"" if reason else self._content(archive, member)
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError):
                    reason = "damaged member"
                except _Explodes:
                    reason = "member too large"
                if reason:
                    passed_over[reason] += 1
                else:
                    yield Item(member.filename, content, self.labelling.of(member.filename))

    def _refusal(self, member: zipfile.ZipInfo) -> str | None:
        if member.flag_bits & 1:
            return "encrypted member"
        packed_well = member.file_size > self.limits.ratio_limit * max(member.compress_size, 1)
        if member.file_size > self.limits.member_limit or (packed_well and member.file_size > _RATIO_FLOOR):
            return "member too large"
        return None

    def _content(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
        most = min(
            self.limits.member_limit, max(_RATIO_FLOOR, self.limits.ratio_limit * member.compress_size)
        )
        with archive.open(member) as file:
            return _bounded(file, most)


@dataclass(frozen=True)
class TarArchive:
    """Pictures in a tar file, packed or not."""

    path: Path
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, passed_over: Counter[str]) -> Iterator[Item]:
        """Read every picture as the archive is streamed through; hostile members are passed over."""
        most = max(_RATIO_FLOOR, self.path.stat().st_size * self.limits.ratio_limit)
        read = 0
        try:
            with tarfile.open(self.path, "r|*") as archive:
                for member in archive:
                    read += member.size
                    if read > most:  # even skipping a member unpacks it
                        passed_over["rest of an archive that explodes"] += 1
                        return
                    if member.isdir():
                        continue
                    reason = unwanted(member.name) or self._refusal(member)
                    file = None if reason else archive.extractfile(member)
                    if file is None:
                        passed_over[reason or "link or device"] += 1
                        continue
                    yield Item(member.name, _bounded(file, member.size), self.labelling.of(member.name))
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            if not read:
                raise BadSource(f"{self.path}: cannot be read as a tar file: {error}") from None
            passed_over["rest of a damaged archive"] += 1

    def _refusal(self, member: tarfile.TarInfo) -> str | None:
        if not member.isfile():
            return "link or device"
        return "member too large" if member.size > self.limits.member_limit else None


class _Explodes(Exception):
    """A member unpacks to more than its header said."""


def open_source(location: str, labelling: Labelling, limits: Push) -> Source:
    """The folder or archive at a path.

    Raises:
        BadSource: there is nothing there, it is no archive, or it holds no picture.
    """
    path = Path(location).expanduser()
    source: Source
    if path.is_dir():
        source = Folder(path, labelling)
    elif not path.exists():
        raise BadSource(f"{location}: no such folder or file; give a folder, a zip, a tar or the word digits")
    elif zipfile.is_zipfile(path):
        source = ZipArchive(path, limits, labelling)
    elif _is_tar(path):
        source = TarArchive(path, limits, labelling)
    else:
        raise BadSource(f"{location}: neither a zip nor a tar file; give a folder, a zip, a tar or digits")
    _refuse_without_pictures(location, source)
    return source


def unwanted(name: str) -> str | None:
    """Why a path is not sent, or None: it escapes, is hidden, or is no picture by its ending."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        return "path that escapes"
    if any(part.startswith((".", "__MACOSX")) for part in path.parts):
        return "hidden file"
    return None if path.suffix.lower() in _PICTURES else "no picture by its ending"


def _refuse_without_pictures(location: str, source: Source) -> None:
    passed_over: Counter[str] = Counter()
    first = next(source.items(passed_over), None)
    if first is None:
        why = ", ".join(f"{count} × {reason}" for reason, count in passed_over.items()) or "it is empty"
        raise BadSource(
            f"{location}: no picture to send ({why}); names must end in .jpg, .png, .webp or such"
        )
    if first.label is None:
        raise BadSource(
            f"{location}: no label for {first.name!r}: put pictures in folders named by label, "
            "or tell it from the file name with --label-pattern '(?P<label>…)'"
        )


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, zlib.error):
        return False


def _bounded(file: IO[bytes], most: int) -> bytes:
    content = file.read(most + 1)
    if len(content) > most:
        raise _Explodes
    return content
