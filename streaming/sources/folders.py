"""Where pictures come from: a folder, or an archive by its path."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conf.sections import Push
from streaming.errors import BadSource
from streaming.sources.archives import Packed, archive
from streaming.sources.items import Item, Labelling, Skipped, Source, is_picture, printable, unwanted


@dataclass(frozen=True)
class FolderSource:
    """Pictures below a folder, in the order of their paths."""

    path: Path
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read every picture; links that lead out and files that cannot be read are left out."""
        root = self.path.resolve()
        for file in _files(root, skipped):
            name = file.relative_to(root).as_posix()
            try:
                reason = unwanted(name) or self._refusal(root, file)
                content = b"" if reason else file.read_bytes()
            except OSError as error:
                reason = _unreadable(error)
            if reason is None and not is_picture(name, content):
                reason = "no picture by its content"
            if reason is not None:
                skipped.add(reason, printable(name))
                continue
            # A picture right in the folder is labelled by the folder's own name.
            yield Item(printable(name), content, self.labelling.of(printable(f"{root.name}/{name}")))

    def _refusal(self, root: Path, file: Path) -> str | None:
        if not file.resolve().is_relative_to(root):
            return "link that leads out of the folder"
        return "too large to be read" if file.stat().st_size > self.limits.member_limit else None


def open_source(location: str, labelling: Labelling, limits: Push) -> Source:
    """The folder or archive at a path, after a look at its first labelled picture.

    Raises:
        BadSource: there is nothing there, it is no archive, or it holds no picture with a label.
    """
    path = _path(location)
    try:
        source = _source(location, path, labelling, limits)
        refuse_without_pictures(location, source, labelling)
    except OSError as error:
        raise BadSource(f"{location}: cannot be read: {error.strerror or error}") from None
    return source


def _path(location: str) -> Path:
    try:
        return Path(location).expanduser()
    except RuntimeError:
        raise BadSource(
            f"{location}: no such user has a home folder; write ./{location} for a path that begins so"
        ) from None


def _source(location: str, path: Path, labelling: Labelling, limits: Push) -> Source:
    if path.is_dir():
        return FolderSource(path, limits, labelling)
    if not path.exists():
        raise BadSource(f"{location}: no such folder or file; give a folder, a zip, a tar or the word digits")
    if not path.is_file():
        raise BadSource(f"{location}: neither a folder nor a file; give a folder, a zip, a tar or digits")
    found = archive(Packed(str(path), lambda: path.open("rb")), limits, labelling)
    if found is not None:
        return found
    raise BadSource(f"{location}: neither a zip nor a tar file; give a folder, a zip, a tar or digits")


def refuse_without_pictures(location: str, source: Source, labelling: Labelling) -> None:
    """Read up to the first picture that has a label, so that nothing is sent of a source that has none.

    Raises:
        BadSource: no picture has one, or there is none.
    """
    skipped, bare = Skipped(), None
    for item in source.items(skipped):
        if item.label is not None:
            return
        bare = bare or item.name
    if bare is not None:
        way_out = (
            f"--label-pattern {labelling.pattern.pattern!r} is searched in the file name"
            if labelling.pattern
            else "put pictures in folders named by label, or give --label-pattern '(?P<label>…)'"
        )
        raise BadSource(f"{location}: no picture shows a label, {bare!r} for one: {way_out}")
    why = str(skipped) or "it is empty"
    raise BadSource(f"{location}: no picture to send: {why}; names must end in .jpg, .png, .webp or such")


def _files(root: Path, skipped: Skipped) -> Iterator[Path]:
    """Files below a folder; folders behind links are not entered, so there is no way round in a circle."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            if folder == root:
                raise
            skipped.add(_unreadable(error), printable(folder.relative_to(root).as_posix()))
            continue
        files: list[Path] = []
        below: list[Path] = []
        for entry in entries:
            try:
                if entry.is_file():
                    files.append(entry)
                elif entry.is_dir() and not entry.is_symlink():
                    below.append(entry)
            except OSError as error:
                skipped.add(_unreadable(error), printable(entry.relative_to(root).as_posix()))
        yield from files
        folders += reversed(below)


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"
