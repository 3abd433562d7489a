"""Paths: the conf folder, and the folder that relative paths start from."""

from pathlib import Path

CONF = Path(__file__).resolve().parent


def base_dir() -> Path:
    """The folder that relative paths start from: the checkout, or the current folder if installed."""
    return CONF.parent if (CONF.parent / "setup.py").is_file() else Path.cwd()


def resolve_path(location: str) -> str:
    """Make a path absolute, from `base_dir()`; a URI is returned unchanged."""
    return location if "://" in location else str(base_dir() / Path(location).expanduser())
