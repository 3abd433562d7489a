"""The pages that the bar at the top names, in their order."""

from dataclasses import dataclass

from web.access.principal import Principal, Role


@dataclass(frozen=True)
class Entry:
    """A page in the bar: where it is, what it is called, and who sees it."""

    path: str
    title: str
    role: Role = Role.UPLOADER


ENTRIES = (
    Entry("/", "Home"),
    Entry("/upload", "Upload"),
    Entry("/mine", "My uploads"),
    Entry("/sql", "SQL", Role.TRAINER),
    Entry("/api", "API"),
)
"""A new page that people look for is one entry here."""


def entries(who: Principal | None) -> list[Entry]:
    """The entries that somebody sees."""
    return [each for each in ENTRIES if who is not None and who.may(each.role)]


def current(path: str) -> str:
    """The path of the entry that a request's path belongs to."""
    found = [each.path for each in ENTRIES if path == each.path or path.startswith(f"{each.path}/")]
    return max(found, key=len, default="")
