"""Folders and archives built in code."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from conf import settings as configuration
from streaming.sources.folders import open_source
from streaming.sources.items import Item, Skipped
from streaming.sources.labels.labelling import Labelling
from tests.support import pictures

PICTURE = pictures.jpeg(40, 40)
LIMIT = 1 << 21
LIMITS = configuration.load().push.model_copy(update={"member_limit": LIMIT, "ratio_limit": 50})


def read_items(path: Path, pattern: str | None = None) -> tuple[list[Item], Skipped]:
    skipped = Skipped()
    return list(open_source(str(path), Labelling.from_pattern(pattern), LIMITS).items(skipped)), skipped


def zipped(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, members: Mapping[str, bytes | tarfile.TarInfo], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def foldered(path: Path, members: Mapping[str, bytes]) -> Path:
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


MAKERS: dict[str, Callable[..., Path]] = {
    "folder": foldered,
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda path, members: tarred(path, members, "w:gz"),
    "tar.bz2": lambda path, members: tarred(path, members, "w:bz2"),
    "tar.xz": lambda path, members: tarred(path, members, "w:xz"),
}
