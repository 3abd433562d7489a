"""An archive that is opened again for each pass over it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from conf.sections import Push


@dataclass(frozen=True)
class ArchiveFile:
    """An archive on disk or in a bucket.

    Args:
        name: path or URI, for messages.
        open: opens it for reading as a seekable file.
    """

    name: str
    open: Callable[[], IO[bytes]]

    def __str__(self) -> str:
        return self.name


def unpack_budget(packed: IO[bytes], limits: Push) -> int:
    """Maximum bytes to unpack from an archive in total."""
    return max(limits.member_limit, limits.ratio_limit * packed.seek(0, 2))
