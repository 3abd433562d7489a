"""Which commit a checkout stands on, read from files that a real Git has written."""

import subprocess
from pathlib import Path

from conf.version import commit_of, of_code


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_the_commit_is_gits_on_a_branch_detached_packed_and_in_a_worktree(tmp_path: Path) -> None:
    checkout, tree = tmp_path / "checkout", tmp_path / "tree"
    checkout.mkdir()
    assert commit_of(checkout) is None
    git(checkout, "init")
    assert commit_of(checkout) is None  # a branch without a commit
    git(checkout, "commit", "--allow-empty", "-m", "one")
    first = git(checkout, "rev-parse", "HEAD")
    assert commit_of(checkout) == first
    git(checkout, "worktree", "add", "-b", "side/branch", str(tree))
    git(tree, "commit", "--allow-empty", "-m", "two")
    assert commit_of(tree) == git(tree, "rev-parse", "HEAD") != first
    git(checkout, "pack-refs", "--all")
    assert (commit_of(checkout), commit_of(tree)) == (first, git(tree, "rev-parse", "HEAD"))
    git(checkout, "checkout", "--detach")
    assert commit_of(checkout) == first


def test_the_code_is_named_by_version_and_commit() -> None:
    assert of_code().startswith("0.")
