"""CPU time and peak memory of the child processes by kind, from Linux's /proc."""

import os
from collections import defaultdict
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> dict[str, float]:
    """CPU seconds so far of the driver, Spark's JVM, its compilers, Python workers, decoders and broker."""
    used: dict[str, float] = defaultdict(float)
    for pid, kind in _descendants():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # the process has just ended
            continue
        used[kind] += (int(fields[11]) + int(fields[12])) / _TICK
        if kind == "spark jvm":
            used["jvm compiler"] += _compiler_seconds(pid)
    return used


def _compiler_seconds(pid: int) -> float:
    """CPU seconds of a JVM's compiler threads, which are included in the JVM's total."""
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
    """Largest peak of resident memory among the processes of a kind."""
    peaks = [0.0]
    for pid, process_kind in _descendants():
        if process_kind == kind:
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
    kinds, ours = [], {os.getpid()}
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
        kinds.append((pid, _kind(command)))
    return kinds


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
