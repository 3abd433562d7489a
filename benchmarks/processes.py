"""What the processes below this one use, by what they are, as Linux's /proc tells."""

import os
from collections import defaultdict
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> dict[str, float]:
    """CPU seconds so far of the driver, Spark's JVM and its compilers, Python workers, decoders, broker."""
    used: dict[str, float] = defaultdict(float)
    for pid, kind in _descendants():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        used[kind] += (int(fields[11]) + int(fields[12])) / _TICK
        if kind == "spark jvm":
            used["jvm compiler"] += _compiling(pid)
    return used


def _compiling(pid: int) -> float:
    """CPU seconds of a JVM's compilers; a part of the JVM's, which gets smaller the longer it runs."""
    ticks = 0
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            before, _, after = task.read_text().rpartition(")")
        except OSError:
            continue
        if "CompilerThre" in before:
            ticks += sum(map(int, after.split()[11:13]))
    return ticks / _TICK


def peak_megabytes(kind: str) -> float:
    """Largest resident memory any process of a kind has had so far."""
    peaks = [0.0]
    for pid, found in _descendants():
        if found == kind:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            peaks += [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


def _descendants() -> list[tuple[int, str]]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, ours = [], {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in ours and pid not in ours}
        ours |= more
        grown = bool(more)
    for pid in ours:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        found.append((pid, _kind(command)))
    return found


def _kind(command: str) -> str:
    for mark, kind in (
        ("streaming.isolate.sandbox", "decoders"),
        ("pyspark.daemon", "python workers"),
        ("kafka.Kafka", "broker"),
        ("java", "spark jvm"),
    ):
        if mark in command:
            return kind
    return "driver"
