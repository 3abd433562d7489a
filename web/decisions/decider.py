"""Takes decisions about labels, one request at a time, at once or when several people agree."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.settings import Settings
from organize.review import decision_log
from organize.review.decisions import Wish
from web.decisions.votes import Votes


@dataclass(frozen=True)
class Taken:
    """What became of wishes.

    Args:
        decision_id: of the decisions that were taken, for an undo; None if there is none.
        decided: images whose samples were changed.
        unchanged: images that were so already.
        waiting: images that wait for others to agree.
    """

    decision_id: str | None
    decided: int
    unchanged: int
    waiting: int


class Decider:
    """Takes decisions. Two requests at once would read the same state and repair each other's rows.

    Args:
        settings: of the hub.
        file: of the votes.
    """

    def __init__(self, settings: Settings, file: Path) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        agreement = settings.web.review_agreement
        self.votes = Votes(file, agreement) if agreement > 1 else None

    def close(self) -> None:
        """Close the votes, after a decision that is being taken."""
        with self._lock:
            if self.votes is not None:
                self.votes.close()

    def decide(self, wishes: Sequence[Wish], user: str) -> Taken:
        """Carry out wishes, all or none of those that may be.

        Raises:
            BadDecision: a wish cannot be met; nothing was changed.
            StorageError: the lake cannot be written.
        """
        with self._lock:
            agreed = list(wishes) if self.votes is None else self.votes.vote(wishes, user)
            waiting = len(wishes) - len(agreed)
            if not agreed:
                return Taken(None, 0, 0, waiting)
            found = decision_log.decide(self._settings, agreed, user)
            if self.votes is not None:
                self.votes.mark_taken(agreed)
        return Taken(found.decision_id, len(found.decisions), found.unchanged, waiting)

    def undo(self, decision_id: str, user: str) -> Taken:
        """Undo all decisions that were taken together.

        Raises:
            BadDecision: no decision has this id, or a newer one is about one of its images.
        """
        with self._lock:
            found = decision_log.undo(self._settings, decision_id, user)
        return Taken(found.decision_id, len(found.decisions), found.unchanged, 0)
