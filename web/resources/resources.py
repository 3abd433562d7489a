"""What all requests share: settings, accounts, copies of the tables, Kafka, verdicts, models."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

from conf.settings import Settings
from lake.label_hierarchy import Hierarchy
from lake.table import Table
from streaming.contract.rules import Rules
from web.access.accounts import Accounts
from web.access.rates import Rates
from web.access.sessions import Sessions
from web.data import uploads
from web.data.freshness import Freshness
from web.data.known_ids import KnownIds
from web.data.mirror import Change, Mirror
from web.data.stored_pictures import StoredPictures
from web.decisions.decider import Decider
from web.erasures import person_files
from web.erasures.erasure_queue import ErasureQueue
from web.faces.recognizer import Recognizer
from web.inference.classifiers import Classifiers
from web.inference.safe_pictures import SafePictures
from web.inference.similar_pictures import SimilarPictures
from web.resources.metrics import Metrics
from web.sql.queries import Queries
from web.trainings.training_queue import TrainingQueue
from web.uploads.body import Budget
from web.uploads.kafka_store import KafkaStore
from web.uploads.receipts import Receipts
from web.uploads.sender import Sender
from web.uploads.verdict_feed import VerdictFeed


@dataclass(frozen=True)
class Resources:
    """Resources of one server process.

    Args:
        settings: of the hub.
        find_bootstrap: the address of the Kafka cluster; raises HubError if there is none.
        opened: whether requests need no login for as long as there is no account.
        lan: whether phones may join with the QR code.
    """

    settings: Settings
    find_bootstrap: Callable[[], str]
    opened: bool
    lan: bool = False

    @cached_property
    def accounts(self) -> Accounts:
        """People and keys."""
        return Accounts(self.settings.web.dir / "accounts.db")

    @cached_property
    def sessions(self) -> Sessions:
        """Session cookies."""
        return Sessions(self.settings.web, self.accounts)

    @cached_property
    def rates(self) -> Rates:
        """Counts of requests."""
        return Rates(self.settings.web)

    @cached_property
    def mirror(self) -> Mirror:
        """Copies of the tables."""
        return Mirror(self.settings, self.settings.web.dir / "tables.duckdb")

    @cached_property
    def known_ids(self) -> KnownIds:
        """Ids of uploads in the copy of the ledger."""
        return KnownIds(self.mirror)

    @cached_property
    def freshness(self) -> Freshness:
        """The thread that refreshes them."""
        return Freshness(self.mirror, self.settings.web.refresh_seconds, lambda: self.receipts.count() > 0)

    @cached_property
    def pictures(self) -> StoredPictures:
        """Pictures of the ledger."""
        return StoredPictures(self.settings, self.mirror)

    @cached_property
    def kafka(self) -> KafkaStore:
        """Where uploads are stored."""
        return KafkaStore(self.settings, self.find_bootstrap)

    @cached_property
    def feed(self) -> VerdictFeed:
        """New verdicts."""
        return VerdictFeed(self.settings, self.find_bootstrap)

    @cached_property
    def receipts(self) -> Receipts:
        """Uploads that are stored and have no verdict yet."""
        return Receipts(self.settings.web.dir / "receipts.db")

    @cached_property
    def sender(self) -> Sender:
        """Sends uploads, each once."""
        return Sender(self.settings.kafka, self.find_bootstrap, self.kafka, self.receipts)

    @cached_property
    def budget(self) -> Budget:
        """Memory for bodies."""
        return Budget(self.settings.web.upload_bytes)

    @cached_property
    def erasures(self) -> ErasureQueue:
        """Erasures that people have asked for."""
        file = self.settings.web.dir / "erasures.db"
        return ErasureQueue(
            self.settings, file, self.mirror.hide, partial(person_files.forget, self.settings)
        )

    @cached_property
    def safe_pictures(self) -> SafePictures:
        """Decodes pictures of requests."""
        return SafePictures(self.rules)

    @cached_property
    def classifiers(self) -> Classifiers:
        """Models that predict labels."""
        return Classifiers(self.settings)

    @cached_property
    def similar(self) -> SimilarPictures:
        """Pictures that look like a picture."""
        return SimilarPictures(self.settings, self.mirror)

    @cached_property
    def recognizer(self) -> Recognizer:
        """Finds and compares faces."""
        return Recognizer(self.settings, self.mirror)

    @cached_property
    def inference_threads(self) -> ThreadPoolExecutor:
        """Threads that decode and predict: as many as cores."""
        return ThreadPoolExecutor(len(os.sched_getaffinity(0)), "inference")

    @cached_property
    def queries(self) -> Queries:
        """Statements of people."""
        return Queries(self.mirror, self.settings.web.dir)

    @cached_property
    def decider(self) -> Decider:
        """Takes decisions about labels."""
        return Decider(self.settings, self.settings.web.dir / "votes.db")

    @cached_property
    def trainings(self) -> TrainingQueue:
        """Trainings that people have asked for."""
        return TrainingQueue(self.settings.web.dir, self.settings.web.trainings_at_once)

    @cached_property
    def metrics(self) -> Metrics:
        """Numbers for Prometheus."""
        return Metrics()

    @cached_property
    def rules(self) -> Rules:
        """The rules of the record contract."""
        return Rules.of(self.settings)

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The labels of labels.csv."""
        return Hierarchy.read(self.settings.labels.file)

    def open(self) -> None:
        """Open files and start the threads."""
        # Made here, because two threads could make one each.
        shared = (
            self.accounts, self.sessions, self.rates, self.pictures, self.kafka, self.metrics, self.rules,
            self.safe_pictures, self.classifiers, self.inference_threads, self.queries, self.known_ids,
            self.decider, self.similar, self.recognizer, self.sender,
        )  # fmt: skip
        assert None not in shared
        self.mirror.on_change.append(self._redeem_receipts)
        self.erasures.start()
        self.trainings.start()
        self.freshness.start()
        self.feed.start()

    def close(self) -> None:
        """Stop the threads and close files. Uploads that were sent are acknowledged or have failed."""
        self.kafka.close()
        self.inference_threads.shutdown()
        self.safe_pictures.close()
        self.recognizer.close()
        self.feed.stop()
        self.erasures.stop()
        self.freshness.stop()
        self.trainings.stop()
        self.decider.close()
        self.mirror.close()
        self.receipts.close()

    def _redeem_receipts(self, change: Change) -> None:
        """Uploads that the ledger has now need no receipt; who waits for their verdicts is told."""
        if change.table is Table.UPLOADS and (ids := self.receipts.ids()):
            found = uploads.find_all(self.mirror, ids)
            self.receipts.remove(list(found))
            self.feed.tell(each for each in found.values() if each.verdict != "erased")
