"""Counts of what was organized."""

from dataclasses import dataclass, field


@dataclass
class Counts:
    """Counts of a run, which grow while it goes on.

    Args:
        embedded: images that got an embedding.
        unreadable: of these, images whose stored picture cannot be decoded: they have no vector.
        staged: key of a stage to the images that it has handled.
        chunks: of images that were led through the stages together.
        waiting: accepted images that have no sample yet.
        seconds: of the run.
    """

    embedded: int = 0
    unreadable: int = 0
    staged: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    waiting: int = 0
    seconds: float = 0.0

    def add_stage(self, key: str, images: int) -> None:
        """Add the images that a stage has handled."""
        self.staged[key] = self.staged.get(key, 0) + images

    def results(self, keys: tuple[str, ...]) -> dict[str, object]:
        """The counts for --json, with all keys of stages."""
        return {
            "embedded": self.embedded,
            **{key: self.staged.get(key, 0) for key in keys},
            "unreadable": self.unreadable,
            "waiting": self.waiting,
            "seconds": round(self.seconds, 3),
        }
