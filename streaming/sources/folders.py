"""Read pictures from a local folder; open a local path as a folder or an archive."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from conf.sections import Push
from streaming.errors import BadSource
from streaming.sources.archives import ArchiveFile, open_archive
from streaming.sources.folder_walk import OUTSIDE, FolderWalk, read_error
from streaming.sources.items import Item, Skipped, Source, printable
from streaming.sources.labels.labelling import LEFT_OUT, SEVERAL, Labelling
from streaming.sources.labels.layouts import ways_out
from streaming.sources.picture_files import HEAD_BYTES, content_decides, is_picture, skip_reason

_EXAMPLES = 1000  # pictures without a label from which flags are suggested


@dataclass(frozen=True)
class FolderSource:
    """The pictures below a folder, in the order of their paths; links to folders come last.

    Args:
        follow_links: also read links that lead out of the folder.
    """

    path: Path
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)
    follow_links: bool = False

    @property
    def root(self) -> str:
        """The folder's name, as the user typed it: the label of pictures directly in it."""
        typed = self.path.absolute().name
        return printable(self.path.resolve().name if typed in {"", ".."} else typed)

    def items(self, skipped: Skipped, names_only: bool = False) -> Iterator[Item]:
        """Read every picture; unreadable files and links that lead out of the folder are skipped."""
        root = self.root
        for file, path in FolderWalk(self.path.resolve(), self.follow_links, skipped).files():
            name = printable(path)
            try:
                reason, content = self._read(file, path, names_only)
            except OSError as error:
                reason, content = read_error(error), b""
            if reason is None:
                yield self.labelling.item(name, content, root)
            else:
                skipped.add(reason, name)

    def _read(self, file: Path, name: str, names_only: bool) -> tuple[str | None, bytes]:
        """The skip reason or None, and the content."""
        if reason := skip_reason(name):
            return reason, b""
        if file.stat().st_size > self.limits.member_limit:
            return "too large to be read", b""
        if names_only and not content_decides(name):
            return None, b""
        with file.open("rb") as opened:
            beginning = opened.read(HEAD_BYTES)
            if not is_picture(name, beginning):
                return "no picture by its content", b""
            return None, b"" if names_only else beginning + opened.read()


def open_source(location: str, labelling: Labelling, limits: Push, follow_links: bool = False) -> Source:
    """Open the folder or archive at a path, and check that it contains a labelled picture.

    Args:
        follow_links: of a folder, also read links that lead out of it.

    Raises:
        BadSource: the path does not exist, is no archive, or contains no picture with a label.
    """
    path = _path(location)
    try:
        source = _source(location, path, labelling, limits, follow_links)
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


def _source(location: str, path: Path, labelling: Labelling, limits: Push, follow_links: bool) -> Source:
    if path.is_dir():
        return FolderSource(path, limits, labelling, follow_links)
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
    skipped, unlabelled = Skipped(), list[Item]()
    for item in source.items(skipped):
        if item.label is not None:
            return
        if len(unlabelled) < _EXAMPLES:
            unlabelled.append(replace(item, content=b""))
    if unlabelled:
        names = [item.name for item in unlabelled]
        why = unlabelled[0].unlabelled
        way = _way_to_labels(labelling, why, ways_out(names, source.root, ()))
        raise BadSource(f"{location}: no picture has a label, for example {names[0]!r} ({why}): {way}")
    hint = "; --follow-links sends what links lead to" if skipped.counts[OUTSIDE] else ""
    raise BadSource(f"{location}: no picture to send: {str(skipped) or 'it is empty'}{hint}")


def _way_to_labels(labelling: Labelling, why: str, ways: list[str]) -> str:
    if why == LEFT_OUT:
        return "the map has no label for them"
    if why == SEVERAL:
        return (
            "give one label for each picture, or leave others out with lines such as `NAME,` in --label-map"
        )
    if labelling.pattern is not None:
        pattern = labelling.pattern.pattern
        return f"--label-pattern {pattern!r} is searched in the file name, not in the path"
    if labelling.table is not None:
        return f"the rows of {labelling.table.file} name other files"
    if ways:
        return f"try {'; or '.join(ways)}"
    return (
        "put pictures in folders named by label, or give --label-pattern '(?P<label>…)', --labels-from FILE "
        "or --label-from folder:N"
    )
