"""Processor time, which is what a run's energy goes into."""

import resource


def cpu_seconds() -> float:
    """Of this process and its ended children since they began, user and system."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)
