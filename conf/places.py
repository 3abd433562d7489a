"""Paths: the conf folder, the folder that relative paths start from, and what places can be used for."""

import os
import re
from pathlib import Path

CONF = Path(__file__).resolve().parent
_PACKAGES = "conf", "jobs", "lake", "local", "models", "organize", "streaming", "web"

# delta-rs, which writes the table `models`, cannot open a table below such a path, or reads %20 as a blank.
# Spark takes a backtick for the end of a quoted name, and {a}, * and ? for patterns.
_NOT_IN_LAKES = re.compile(r"[\[\]^|`{}*?\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")
_NOT_IN_URIS = re.compile(r"[#\s]")
_S3_ROOT = re.compile(r"s3a://[^/]+(/.*)?")
# Java and Spark separate paths with these, Kafka its log folders.
_NOT_IN_WORK_FOLDERS = re.compile(r"[,:\x00-\x1f\x7f]")


def base_dir() -> Path:
    """The folder that relative paths start from: the checkout, or the current folder if installed."""
    return CONF.parent if (CONF.parent / "setup.py").is_file() else Path.cwd()


def resolve_path(location: str) -> str:
    """Make a path absolute, from `base_dir()`; a URI is returned unchanged."""
    return location if "://" in location else str(base_dir() / Path(location).expanduser())


def is_executable(folder: Path) -> bool:
    """Whether programs and libraries in a folder can be run: its file system is not mounted noexec."""
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def lake_root(value: str) -> str:
    """The root of a lake: an absolute folder, or an s3a:// URI without a slash at its end.

    Raises:
        ValueError: nothing is named, or not everything that uses the lake can use this path.
    """
    if not value.strip():
        raise ValueError("must be a folder or an s3a:// URI")
    root = resolve_path(value).rstrip("/").replace("s3://", "s3a://", 1)
    local = "://" not in value
    if not local and not _S3_ROOT.fullmatch(root):
        raise ValueError("must be a folder or an s3a:// URI with a bucket, such as s3a://bucket/lake")
    # delta-rs opens the folder that a link leads to.
    for path in (root, os.path.realpath(root)) if local else (root,):
        if found := _NOT_IN_LAKES.search(path) or (not local and _NOT_IN_URIS.search(path)):
            where = "" if found[0] in value else f"the path '{path}' "
            raise ValueError(f"{where}must not contain {found[0]!r}; rename the folder or name another")
    if local:
        _refuse_own_package(Path(root))
    return root


def check_work_folder(path: Path) -> Path:
    """Check that the hub may write to a folder and that Java takes its path for one path.

    Raises:
        ValueError: it may not, or does not.
    """
    if found := _NOT_IN_WORK_FOLDERS.search(str(path)):
        raise ValueError(f"the path '{path}' must not contain {found[0]!r}: Java would split it there")
    _refuse_own_package(path)
    return path


def _refuse_own_package(folder: Path) -> None:
    """Refuse a folder of the hub's own code, such as ./lake typed in the checkout."""
    resolved = folder.resolve()
    for package in _PACKAGES:
        if resolved.is_relative_to(CONF.parent / package):
            raise ValueError(f"{folder} belongs to the hub's own package {package}: name an absolute path")
