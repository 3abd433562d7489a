"""CPU time of this process and its children, the measure of a run's cost."""

import resource


def cpu_seconds() -> float:
    """CPU time of this process and of its ended children so far, user and system (seconds)."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
