"""Carries out the erasures that people have asked for, also while an ingestion runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.errors import LakeError
from streaming import erasure, erasure_requests
from streaming.errors import LakeInUse, StreamingError, UnknownUser
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger import lake_lease

_LOOK_SECONDS = 2.0
_ERASURE_SECONDS = 3600.0  # that another process's erasure may take
_RETRY_SECONDS = 60.0  # after an erasure that could not be carried out


@dataclass
class Erased:
    """Users who were erased, and users who wait, with the reason."""

    users: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)


def erase_asked(
    spark: SparkSession,
    settings: Settings,
    bootstrap: str,
    on_step: Callable[[str], None] = lambda step: None,
) -> Erased:
    """Erase the users who have asked for it, with all that they sent up to now.

    Raises:
        LakeInUse: another process ingests into the lake.
        IngestFailed: what is in Kafka could not be ingested, so that the erasure would not be complete.
    """
    done, users = Erased(), erasure_requests.waiting(settings)
    if users:
        on_step("ingest what is in Kafka")
        Ingestion(spark, settings, bootstrap).once(IngestReport())
    for user in users:
        copies: list[str] = []
        try:
            copies = erasure.erase(spark, settings, bootstrap, user, on_step).remaining_copies
        except UnknownUser:
            on_step("nothing of this user is in the lake")
        except (LakeError, StreamingError) as error:
            done.waiting[user] = str(error)
            continue
        erasure_requests.end(settings, user, copies)
        done.users.append(user)
    return done


def ingest_and_erase(
    ingestion: Ingestion, report: IngestReport, on_step: Callable[[str], None] = lambda step: None
) -> None:
    """Ingest records as they arrive; the ingestion pauses while somebody is erased.

    Raises:
        see Ingestion.forever.
    """
    look = _Look(ingestion.settings)
    while True:
        ingestion.forever(report, look)
        if not look.found:
            return
        try:
            done = erase_asked(ingestion.spark, ingestion.settings, ingestion.bootstrap, on_step)
        except StreamingError as error:  # a web server was faster, or a follower failed: ingestion goes on
            done = Erased(waiting={"": str(error)})
        for why in done.waiting.values():
            on_step(f"an erasure waits: {why}")
        _wait_for_lake(ingestion.settings)
        look.pause(_RETRY_SECONDS if done.waiting else 0.0)


def _wait_for_lake(settings: Settings) -> None:
    """Wait until nobody else erases.

    Raises:
        LakeInUse: somebody still holds the lake after an hour.
    """
    deadline = time.monotonic() + _ERASURE_SECONDS
    while True:
        try:
            lake_lease.refuse_if_held(settings)
            return
        except LakeInUse:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_SECONDS)


class _Look:
    """Looks from time to time whether an erasure waits."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._next, self.found = settings, 0.0, False

    def __call__(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _LOOK_SECONDS
        try:
            self.found = bool(erasure_requests.waiting(self._settings))
        except (LakeError, OSError):  # ingestion retries for as long as a lake is away; so does the next look
            self.found = False
        return self.found

    def pause(self, seconds: float) -> None:
        """Do not look for a while."""
        self._next, self.found = time.monotonic() + seconds, False
