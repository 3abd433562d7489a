"""The pages that the bar at the top names, in their order."""

from dataclasses import dataclass

from web.access.principal import Principal, Role


@dataclass(frozen=True)
class Entry:
    """A page in the bar: where it is, what it is called, who sees it, and which other pages belong to it."""

    path: str
    title: str
    role: Role = Role.UPLOADER
    others: tuple[str, ...] = ()


ENTRIES = (
    Entry("/", "Home"),
    Entry("/upload", "Upload"),
    Entry("/mine", "My uploads"),
    Entry("/labels", "Pictures", Role.REVIEWER, ("/pictures", "/batches", "/rejected")),
    Entry("/review", "Review", Role.REVIEWER),
    Entry("/datasets", "Datasets", Role.REVIEWER),
    Entry("/models", "Models", others=("/train", "/trainings")),
    Entry("/try", "Try", others=("/faces",)),
    Entry("/sql", "SQL", Role.TRAINER),
    Entry("/api", "API"),
)
"""A new page that people look for is one entry here."""


def entries(who: Principal | None) -> list[Entry]:
    """The entries that somebody sees."""
    return [each for each in ENTRIES if who is not None and who.may(each.role)]


def current(path: str) -> str:
    """The path of the entry that a request's path belongs to."""
    found = [
        (prefix, each.path)
        for each in ENTRIES
        for prefix in (each.path, *each.others)
        if path == prefix or path.startswith(f"{prefix}/")
    ]
    return max(found, key=lambda each: len(each[0]), default=("", ""))[1]
