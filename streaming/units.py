"""Formats quantities for people."""


def duration(seconds: float) -> str:
    """Format a time span: `12 s`, `3 min 20 s`, `5 h 2 min`, `3 d 4 h`."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    for size, name, smaller, small in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if total >= size:
            rest = total % size // smaller
            return f"{total // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{total} s"
