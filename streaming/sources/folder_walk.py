"""Walks the files below a folder: every entry is found, or counted with a reason."""

import errno
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from streaming.sources.items import Skipped, printable
from streaming.sources.picture_files import skip_reason

OUTSIDE = "link that leads out of the folder"
NOWHERE = "link that leads nowhere"
REPEATED = "folder that is read anyway"
_NO_TARGET = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

_FolderId = tuple[int, int]  # device and inode


@dataclass
class FolderWalk:
    """A walk. Each folder is read once, so that circles of links end.

    Args:
        root: without links in its path.
        follow: also follow links that lead out of the root.
        skipped: counts what is not found.
    """

    root: Path
    follow: bool
    skipped: Skipped
    _read: set[_FolderId] = field(default_factory=set)
    _links: list[tuple[Path, str]] = field(default_factory=list)

    def files(self) -> Iterator[tuple[Path, str]]:
        """Each file and its path in the source; links to folders come last.

        Raises:
            OSError: the root cannot be read.
        """
        yield from self._below(self.root, "")
        while self._links:
            yield from self._linked(*self._links.pop(0))

    def _linked(self, link: Path, name: str) -> Iterator[tuple[Path, str]]:
        target, hidden = link.resolve(), skip_reason(name)
        if hidden or self.root.is_relative_to(target):
            self.skipped.add(hidden or REPEATED, printable(name))
        elif target.is_relative_to(self.root) or self.follow:
            yield from self._below(link, name)
        else:
            self.skipped.add(OUTSIDE, printable(name))

    def _below(self, top: Path, name: str) -> Iterator[tuple[Path, str]]:
        folders = [(top, name)]
        while folders:
            folder, prefix = folders.pop()
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in self._read:
                    self.skipped.add(REPEATED, printable(prefix))
                    continue
                if skip_reason(prefix) is None:  # a link without a hidden name may lead to a hidden folder
                    self._read.add((status.st_dev, status.st_ino))
                entries = sorted(folder.iterdir())
            except OSError as error:
                if folder == self.root:
                    raise
                self.skipped.add(read_error(error), printable(prefix))
                continue
            subfolders: list[tuple[Path, str]] = []
            for entry in entries:
                path = f"{prefix}/{entry.name}" if prefix else entry.name
                kind = self._kind(entry, path)
                if kind == stat.S_IFREG:
                    yield entry, path
                elif kind == stat.S_IFDIR:
                    subfolders.append((entry, path))
            folders += reversed(subfolders)

    def _kind(self, entry: Path, name: str) -> int | None:
        """Regular file or folder; None for what is counted, and for a link to a folder, which comes later."""
        is_link = False
        try:
            is_link = entry.is_symlink()
            mode = entry.stat().st_mode
        except OSError as error:
            nowhere = error.errno in _NO_TARGET and is_link
            self.skipped.add(NOWHERE if nowhere else read_error(error), printable(name))
            return None
        if stat.S_ISDIR(mode):
            if not is_link:
                return stat.S_IFDIR
            self._links.append((entry, name))
        elif not stat.S_ISREG(mode):
            self.skipped.add("neither a file nor a folder", printable(name))
        elif is_link and not self.follow and not entry.resolve().is_relative_to(self.root):
            self.skipped.add(OUTSIDE, printable(name))
        else:
            return stat.S_IFREG
        return None


def read_error(error: OSError) -> str:
    """The skip reason of a file that cannot be read."""
    return f"cannot be read: {error.strerror}"
