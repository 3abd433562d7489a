"""The commit of a checkout, read from files that a real Git has written."""

import shutil
import subprocess
from pathlib import Path

import pytest

from conf.version import code_version, head_commit
from tests.support.commands import ROOT


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


def test_an_image_that_was_built_without_gits_files_names_the_commit_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HUB_COMMIT", "f8134135a1b2" + 28 * "0")
    assert code_version().endswith("+f8134135a1b2")


def test_a_build_context_has_enough_of_git_for_the_commit(tmp_path: Path) -> None:
    """Of .git, .dockerignore keeps HEAD, refs and packed-refs."""
    checkout, context = tmp_path / "checkout", tmp_path / "context"
    checkout.mkdir()
    git(checkout, "init")
    git(checkout, "commit", "--allow-empty", "-m", "one")
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for pack in (False, True):
        if pack:
            git(checkout, "pack-refs", "--all")
        shutil.rmtree(context, ignore_errors=True)
        for name in kept:
            source, target = checkout / name, context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.is_file():
                shutil.copy(source, target)
        assert head_commit(context) == git(checkout, "rev-parse", "HEAD")
