"""The version of the code: the package's version, and the Git commit of the checkout or image."""

import importlib.metadata
import os
from pathlib import Path

from conf.places import base_dir

DISTRIBUTION = "deep-images-hub"
COMMIT = "HUB_COMMIT"  # variable of an image that was built without Git's files


def code_version() -> str:
    """The package's version and, in a checkout or an image, its commit: `0.1.0+f8134135a1b2`.

    Uncommitted changes are not shown. The commit is read from Git's files, because starting `git` is slower
    and it may not be installed.
    """
    package = importlib.metadata.version(DISTRIBUTION)
    commit = os.environ.get(COMMIT) or head_commit(base_dir())
    return f"{package}+{commit[:12]}" if commit else package


def head_commit(checkout: Path) -> str | None:
    """The commit (hex) that HEAD of a checkout points to; None if there is no commit or no Git folder."""
    try:
        folder = _git_folder(checkout / ".git")
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        return _resolve_reference(folder, head.removeprefix("ref: "))
    except OSError:
        return None


def _git_folder(git: Path) -> Path:
    """The Git folder; in a worktree `.git` is a file with its path."""
    if git.is_file():
        return git.parent / git.read_text().strip().removeprefix("gitdir: ")
    return git


def _resolve_reference(folder: Path, name: str) -> str | None:
    """The commit of a branch, from its loose file or from packed-refs."""
    common = folder / "commondir"
    folders = [folder, folder / common.read_text().strip()] if common.is_file() else [folder]
    for candidate in folders:
        if (candidate / name).is_file():
            return (candidate / name).read_text().strip()
    packed = folders[-1] / "packed-refs"
    for line in packed.read_text().splitlines() if packed.is_file() else []:
        commit, _, reference = line.partition(" ")
        if reference == name:
            return commit
    return None
