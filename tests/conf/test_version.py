"""The commit of a checkout, read from files that a real Git has written."""

import subprocess
from pathlib import Path

from conf.version import code_version, head_commit


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_commit_on_a_branch_detached_packed_and_in_a_worktree(tmp_path: Path) -> None:
    checkout, tree = tmp_path / "checkout", tmp_path / "tree"
    checkout.mkdir()
    assert head_commit(checkout) is None
    git(checkout, "init")
    assert head_commit(checkout) is None  # a branch without a commit
    git(checkout, "commit", "--allow-empty", "-m", "one")
    first = git(checkout, "rev-parse", "HEAD")
    assert head_commit(checkout) == first
    git(checkout, "worktree", "add", "-b", "side/branch", str(tree))
    git(tree, "commit", "--allow-empty", "-m", "two")
    assert head_commit(tree) == git(tree, "rev-parse", "HEAD") != first
    git(checkout, "pack-refs", "--all")
    assert (head_commit(checkout), head_commit(tree)) == (first, git(tree, "rev-parse", "HEAD"))
    git(checkout, "checkout", "--detach")
    assert head_commit(checkout) == first


def test_code_version_starts_with_the_package_version() -> None:
    assert code_version().startswith("0.")
