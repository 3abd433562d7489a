"""Where the hub's files are, and where relative paths start."""

from pathlib import Path

CONF = Path(__file__).resolve().parent


def home() -> Path:
    """Where relative paths start: the checkout, or the current folder for an installed package."""
    return CONF.parent if (CONF.parent / "setup.py").is_file() else Path.cwd()


def resolved(location: str) -> str:
    """A URI as it is; a path made absolute from `home()`."""
    return location if "://" in location else str(home() / Path(location).expanduser())
