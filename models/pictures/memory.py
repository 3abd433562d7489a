"""Free memory of this machine, or of the control group (container) that this process belongs to."""

from contextlib import suppress
from pathlib import Path

CACHE_SHARE = 0.5  # of the free memory that decoded pictures may take
_GROUPS = {  # limit and use, of control groups version 2 and 1, as a container sees its own
    Path("/sys/fs/cgroup/memory.max"): Path("/sys/fs/cgroup/memory.current"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"): Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
}


def cache_bytes(cache_mb: int | None, workers: int) -> int:
    """Memory for decoded pictures of a worker (bytes).

    Args:
        cache_mb: `train.cache_mb`; None for a share of the free memory.
        workers: on this machine, which share it.
    """
    return int(CACHE_SHARE * free_memory() / workers) if cache_mb is None else cache_mb * 2**20


def free_memory() -> int:
    """Memory that can be used without swapping (bytes): the least of the machine's and the container's."""
    free = _available(Path("/proc/meminfo").read_text())
    for limit, use in _GROUPS.items():
        with suppress(OSError, ValueError):  # no such group, or the limit is the word "max"
            free = min(free, max(0, int(limit.read_text()) - int(use.read_text())))
    return free


def _available(meminfo: str) -> int:
    fields = dict(line.split(":", 1) for line in meminfo.splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024
