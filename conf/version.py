"""Which code this is."""

import importlib.metadata
from pathlib import Path

from conf.places import home

NAME = "deep-images-hub"


def of_code() -> str:
    """The package's version and, in a checkout, its commit: `0.1.0+f8134135a1b2`.

    Changes that are not committed do not show. Read from Git's files: starting `git` takes longer, and it may
    not be installed where the hub runs.
    """
    package = importlib.metadata.version(NAME)
    commit = commit_of(home())
    return f"{package}+{commit[:12]}" if commit else package


def commit_of(checkout: Path) -> str | None:
    """The commit that a checkout stands on (hex); None where there is none."""
    try:
        folder = _git_folder(checkout / ".git")
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        return _of_reference(folder, head.removeprefix("ref: "))
    except OSError:
        return None


def _git_folder(git: Path) -> Path:
    """The folder, to which a worktree has only a file that points."""
    if git.is_file():
        return git.parent / git.read_text().strip().removeprefix("gitdir: ")
    return git


def _of_reference(folder: Path, name: str) -> str | None:
    shared = folder / "commondir"
    folders = [folder, folder / shared.read_text().strip()] if shared.is_file() else [folder]
    for place in folders:
        if (place / name).is_file():
            return (place / name).read_text().strip()
    packed = folders[-1] / "packed-refs"
    for line in packed.read_text().splitlines() if packed.is_file() else []:
        commit, _, reference = line.partition(" ")
        if reference == name:
            return commit
    return None
