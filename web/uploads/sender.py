"""Sends uploads to Kafka so that each is there once, also if it is sent again after a lost answer.

An upload that arrives again while it is being sent waits for the first one. That an upload is being sent is
noted on the disk before: if the server is killed, or Kafka does not answer in time, it may be stored or not.
So when it arrives again, the topic is searched for it first.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from kafka.errors import KafkaError

from conf.errors import HubError
from conf.sections import Kafka
from streaming.contract.producer_record import ProducerRecord
from web.problems.problem import Problem
from web.uploads import topic_search
from web.uploads.kafka_store import KafkaStore
from web.uploads.receipts import Receipt, Receipts

_log = logging.getLogger("hub.web")

_PAUSE_SECONDS = 2.0  # after a search that failed, in which uploads are refused at once


class Sender:
    """Sends uploads; used from the event loop.

    Args:
        kafka: settings of the cluster.
        find_bootstrap: its address.
        store: where records are sent to.
        receipts: where it is noted what was begun and what is stored.
    """

    def __init__(
        self, kafka: Kafka, find_bootstrap: Callable[[], str], store: KafkaStore, receipts: Receipts
    ) -> None:
        self._kafka, self._find_bootstrap, self._store, self._receipts = (
            kafka,
            find_bootstrap,
            store,
            receipts,
        )
        self._running: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._sending: set[str] = set()  # not those that wait for a search
        self._searching = asyncio.Lock()
        self._failed_until = 0.0

    async def send(self, record: ProducerRecord, receipt: Receipt) -> None:
        """Store an upload, and keep its receipt.

        Raises:
            Problem: 503, see KafkaStore.store; 409, somebody else's upload has this id.
        """
        user, task = self._running.get(receipt.upload_id, (receipt.user, None))
        if user != receipt.user:
            raise taken(receipt.upload_id)
        if task is None:
            task = asyncio.create_task(self._send(record, receipt))
            self._running[receipt.upload_id] = user, task
            task.add_done_callback(lambda _: self._running.pop(receipt.upload_id))
        await asyncio.shield(task)

    async def _send(self, record: ProducerRecord, receipt: Receipt) -> None:
        upload_id = receipt.upload_id
        self._sending.add(upload_id)
        try:
            if not await asyncio.to_thread(self._receipts.begin, upload_id):
                self._sending.discard(upload_id)
                if await self._was_stored(receipt):
                    return
                self._sending.add(upload_id)
                await asyncio.to_thread(self._receipts.begin, upload_id)
            await self._store.store(record)
            await asyncio.to_thread(self._receipts.add, receipt)
        finally:
            self._sending.discard(upload_id)

    async def _was_stored(self, receipt: Receipt) -> bool:
        """Whether an earlier attempt stored the upload; finds out about all open attempts at once."""
        async with self._searching:
            attempts = await asyncio.to_thread(self._receipts.attempts)
            if receipt.upload_id in attempts:
                if time.monotonic() < self._failed_until:
                    raise _unknown()
                try:
                    await asyncio.to_thread(self._settle, attempts, frozenset(self._sending))
                except (HubError, KafkaError) as error:
                    _log.warning("open attempts were not searched for: %s", error)
                    self._failed_until = time.monotonic() + _PAUSE_SECONDS
                    raise _unknown() from None
        found = await asyncio.to_thread(self._receipts.get, receipt.upload_id)
        if found is not None and found.user != receipt.user:
            raise taken(receipt.upload_id)
        return found is not None

    def _settle(self, attempts: Mapping[str, datetime], sending: frozenset[str]) -> None:
        """Make receipts of the attempts that the topic has; forget the others, but those of this moment."""
        found = topic_search.find(self._kafka, self._find_bootstrap(), attempts, min(attempts.values()))
        for receipt in found:
            self._receipts.add(receipt)
        self._receipts.forget(attempts.keys() - {each.upload_id for each in found} - sending)


def taken(upload_id: str) -> Problem:
    """The refusal of an id that somebody else has used."""
    return Problem(409, f"the id {upload_id!r} is taken: choose another", "duplicate_upload")


def _unknown() -> Problem:
    why = "the hub cannot find out right now whether it has it already; send it again with the same id"
    return Problem(503, why, "kafka_unavailable", retry_after=5)
