"""Running the `hub` command in a process of its own."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """Exit status and output of a command that has ended."""

    status: int
    stdout: str
    stderr: str


Hub = Callable[..., Finished]


def hub_command(*arguments: str) -> list[str]:
    """The command line of `hub` in this Python."""
    return [sys.executable, "-P", "-m", "jobs.hub", *arguments]
