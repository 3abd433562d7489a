"""Read pictures from a local folder; open a local path as a folder or an archive."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conf.sections import Push
from streaming.errors import BadSource
from streaming.sources.archives import ArchiveFile, open_archive
from streaming.sources.items import Item, Labelling, Skipped, Source, is_picture, printable, skip_reason


@dataclass(frozen=True)
class FolderSource:
    """The pictures below a folder, in the order of their paths."""

    path: Path
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read every picture; links out of the folder and unreadable files are skipped."""
        root = self.path.resolve()
        for file in _files(root, skipped):
            name = file.relative_to(root).as_posix()
            try:
                reason = skip_reason(name) or self._skip_reason(root, file)
                content = b"" if reason else file.read_bytes()
            except OSError as error:
                reason = _read_error(error)
            if reason is None and not is_picture(name, content):
                reason = "no picture by its content"
            if reason is not None:
                skipped.add(reason, printable(name))
                continue
            # A picture directly in the folder gets the folder's name as its label.
            yield Item(printable(name), content, self.labelling.label_of(printable(f"{root.name}/{name}")))

    def _skip_reason(self, root: Path, file: Path) -> str | None:
        if not file.resolve().is_relative_to(root):
            return "link that leads out of the folder"
        return "too large to be read" if file.stat().st_size > self.limits.member_limit else None


def open_source(location: str, labelling: Labelling, limits: Push) -> Source:
    """Open the folder or archive at a path, and check that it contains a labelled picture.

    Raises:
        BadSource: the path does not exist, is no archive, or contains no picture with a label.
    """
    path = _path(location)
    try:
        source = _source(location, path, labelling, limits)
        require_labelled_picture(location, source, labelling)
    except OSError as error:
        raise BadSource(f"{location}: cannot be read: {error.strerror or error}") from None
    return source


def _path(location: str) -> Path:
    try:
        return Path(location).expanduser()
    except RuntimeError:
        raise BadSource(
            f"{location}: this user has no home folder; write ./{location} if the name begins with ~"
        ) from None


def _source(location: str, path: Path, labelling: Labelling, limits: Push) -> Source:
    if path.is_dir():
        return FolderSource(path, limits, labelling)
    if not path.exists():
        raise BadSource(f"{location}: no such folder or file; give a folder, a zip, a tar or the word digits")
    if not path.is_file():
        raise BadSource(f"{location}: neither a folder nor a file; give a folder, a zip, a tar or digits")
    archive = open_archive(ArchiveFile(str(path), lambda: path.open("rb")), limits, labelling)
    if archive is not None:
        return archive
    raise BadSource(f"{location}: neither a zip nor a tar file; give a folder, a zip, a tar or digits")


def require_labelled_picture(location: str, source: Source, labelling: Labelling) -> None:
    """Read the source up to its first labelled picture, so that a source without one fails before sending.

    Raises:
        BadSource: there is no picture, or no picture has a label.
    """
    skipped, unlabelled = Skipped(), None
    for item in source.items(skipped):
        if item.label is not None:
            return
        unlabelled = unlabelled or item.name
    if unlabelled is not None:
        way_out = (
            f"--label-pattern {labelling.pattern.pattern!r} is searched in the file name, not in the path"
            if labelling.pattern
            else "put pictures in folders named by label, or give --label-pattern '(?P<label>…)'"
        )
        raise BadSource(f"{location}: no picture has a label, for example {unlabelled!r}: {way_out}")
    why = str(skipped) or "it is empty"
    raise BadSource(f"{location}: no picture to send: {why}; names must end in .jpg, .png, .webp or similar")


def _files(root: Path, skipped: Skipped) -> Iterator[Path]:
    """Walk the files below a folder. Links to folders are not followed, so there are no cycles."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            if folder == root:
                raise
            skipped.add(_read_error(error), printable(folder.relative_to(root).as_posix()))
            continue
        files: list[Path] = []
        subfolders: list[Path] = []
        for entry in entries:
            try:
                if entry.is_file():
                    files.append(entry)
                elif entry.is_dir() and not entry.is_symlink():
                    subfolders.append(entry)
            except OSError as error:
                skipped.add(_read_error(error), printable(entry.relative_to(root).as_posix()))
        yield from files
        folders += reversed(subfolders)


def _read_error(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"
