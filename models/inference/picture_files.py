"""Picture files on a disk: which files of a folder are pictures."""

from collections.abc import Sequence
from pathlib import Path

from conf.errors import UsageError
from lake.pictures import formats
from lake.pictures.formats import Format


def find_pictures(paths: Sequence[str]) -> list[str]:
    """Expand paths to picture files: files as given, folders searched recursively, sorted.

    In folders a picture is told by its ending or by its first bytes.

    Raises:
        UsageError: a path does not exist, or a folder contains no picture.
    """
    found: list[str] = []
    for path in paths:
        location = Path(path)
        if location.is_dir():
            files = [file for file in location.rglob("*") if file.is_file()]
            inside = sorted(str(file) for file in files if _is_picture(file))
            if not inside:
                raise UsageError(f"{path} contains no picture ({', '.join(Format)})")
            found += inside
        elif location.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} does not exist")
    return found


def _is_picture(file: Path) -> bool:
    if file.suffix.lower() in formats.SUFFIXES:
        return True
    try:
        with file.open("rb") as opened:
            return formats.detect(opened.read(formats.HEAD_BYTES)) is not None
    except OSError:  # a file of other users, without a picture's ending
        return False
