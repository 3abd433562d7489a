"""Stores uploads in Kafka: a producer that connects when it is needed, and again after a failure."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from conf.errors import HubError
from conf.settings import Settings
from streaming.contract.producer_record import ProducerRecord
from streaming.upload import producer
from web.problems.problem import Problem

_log = logging.getLogger("hub.web")

_RETRY_SECONDS = 5
_PAUSE_SECONDS = 1.0  # after a failure to connect, in which uploads are refused at once


class KafkaStore:
    """Sends records and waits until Kafka has acknowledged each.

    Args:
        settings: of the hub.
        find_bootstrap: the address of the cluster; the embedded broker may come back at another port.
    """

    def __init__(self, settings: Settings, find_bootstrap: Callable[[], str]) -> None:
        self._settings, self._find_bootstrap = settings, find_bootstrap
        self._threads = ThreadPoolExecutor(4, "kafka")
        self._lock = threading.Lock()
        self._connection: tuple[KafkaProducer, ExitStack] | None = None
        self._refused_until, self._why = 0.0, ""

    async def store(self, record: ProducerRecord) -> None:
        """Store a record.

        Raises:
            Problem: 503, Kafka is away or has not acknowledged it in time; it may or may not be stored, and
                sending it again with the same id is safe.
        """
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[Any] = loop.create_future()

        def finish(result: Any) -> None:
            if not stored.done():
                stored.set_result(result)

        def acknowledged(metadata: Any) -> None:
            loop.call_soon_threadsafe(finish, metadata)

        def send() -> None:
            future = self._connected().send(
                self._settings.kafka.topic, value=record.value, key=record.key, headers=record.headers
            )
            future.add_callback(acknowledged)
            future.add_errback(acknowledged)

        try:
            await loop.run_in_executor(self._threads, send)
            async with asyncio.timeout(self._settings.web.acknowledge_seconds + 5):
                answer = await stored
        except (HubError, KafkaError, TimeoutError) as error:
            answer = error
        if isinstance(answer, BaseException):
            why = _first_line(answer)
            _log.warning("an upload was not stored: %s", why)
            await loop.run_in_executor(self._threads, self._disconnect)
            # Addresses of a cluster are not for everybody who uploads.
            cause = "" if self._settings.kafka.bootstrap else f" ({why})"
            raise Problem(
                503, f"the hub cannot store it right now{cause}; send it again with the same id",
                "kafka_unavailable", retry_after=_RETRY_SECONDS,
            )  # fmt: skip

    def connect(self) -> str | None:
        """Connect, if not connected; returns why this fails."""
        try:
            self._connected()
        except (HubError, KafkaError) as error:
            return _first_line(error)
        return None

    def close(self) -> None:
        """Wait for records that were sent, and disconnect."""
        self._threads.shutdown(cancel_futures=True)
        self._disconnect()

    def _connected(self) -> KafkaProducer:
        with self._lock:
            if self._connection is not None:
                return self._connection[0]
            if time.monotonic() < self._refused_until:
                raise HubError(self._why)
            stack = ExitStack()
            try:
                made = stack.enter_context(
                    producer.connected(
                        self._settings.kafka, self._settings.web.acknowledge_seconds, self._find_bootstrap()
                    )
                )
            except (HubError, KafkaError) as error:
                self._refused_until, self._why = time.monotonic() + _PAUSE_SECONDS, _first_line(error)
                raise
            self._connection = made, stack
            return made

    def _disconnect(self) -> None:
        """Close the producer: after a failure a new one starts from a clean state."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection[1].close()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300] or type(error).__name__
