"""Processes and sockets of this machine, as /proc shows them."""

import os
from pathlib import Path


def parent(pid: int) -> int:
    """The parent's process id."""
    return int(_stat(pid)[1])


def runs(pid: int) -> bool:
    """Whether a process runs, and is not a zombie."""
    try:
        return _stat(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> set[int]:
    """All child processes of a process, and their children."""
    found: set[int] = set()
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = parent(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    grown = {pid}
    while grown:
        grown = {child for child, of in parents.items() if of in grown} - found
        found |= grown
    return found


def listening(pid: int | None = None) -> set[str]:
    """TCP addresses (hexadecimal) that a process listens on; without a pid, this process."""
    folder = Path(f"/proc/{pid or os.getpid()}")
    sockets = set()
    for link in (folder / "fd").iterdir():
        try:
            sockets.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in (folder / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                ports.add(fields[1])
    return ports


def _stat(pid: int) -> list[str]:
    """State, parent, … of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
