"""Starts, finds and stops the embedded Kafka broker."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conf import process_environment
from conf.sections import Broker
from conf.settings import Settings
from local import kraft, state, supervisor
from local.errors import BrokerFailed, NoBroker
from local.state import State

_POLL_SECONDS = 0.05
_STOP_SECONDS = supervisor.STOP_SECONDS + 5


def address(settings: Settings) -> str:
    """The bootstrap address: of the cluster in the settings, or else of the embedded broker.

    Raises:
        NoBroker: no cluster is set and no embedded broker is running.
    """
    if settings.kafka.bootstrap:
        return settings.kafka.bootstrap
    current = state.running(settings.broker)
    if current is None:
        raise NoBroker("no broker: run `hub up`, or set HUB__KAFKA__BOOTSTRAP")
    return current.bootstrap


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """An embedded broker while the block runs: one that is running already, or one that stops afterwards.

    Yields:
        the bootstrap address.

    Raises:
        JvmMissing: Java or the broker's jars are not installed.
        BrokerFailed: the broker does not start.
    """
    current = state.running(settings.broker)
    if current is not None:
        yield current.bootstrap
        return
    with _ProcessGuard(settings.broker) as guard:
        yield guard.wait_until_up().bootstrap


def up(settings: Settings) -> State:
    """Start a broker that keeps running after this process, unless one is running already.

    Raises:
        JvmMissing: Java or the broker's jars are not installed.
        BrokerFailed: the broker does not start.
    """
    current = state.running(settings.broker)
    if current is not None:
        return current
    with _ProcessGuard(settings.broker) as guard:
        guard.wait_until_up()
        return guard.detach()


def down(settings: Settings) -> int | None:
    """Stop the embedded broker, even one that is still starting.

    Returns:
        the process id of the supervisor that was stopped; None if none was running.

    Raises:
        BrokerFailed: the broker does not stop.
    """
    pid = state.holder(settings.broker)
    if pid is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not _wait_until(lambda: state.holder(settings.broker) is None, _STOP_SECONDS):
        raise BrokerFailed(
            f"the broker of process {pid} does not stop; see {kraft.log_folder(settings.broker)}"
        )
    return pid


def _log_of_jvm(settings: Broker) -> Path:
    """Create the folders of the broker, and the file of what its processes print.

    Raises:
        BrokerFailed: this user may not.
    """
    log = kraft.log_folder(settings) / "broker.out"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.open("ab").close()
    except OSError as error:
        raise BrokerFailed(
            f"cannot write {error.filename or settings.dir}: {error.strerror}; set HUB__BROKER__DIR to a "
            "folder that this user may write"
        ) from None
    return log


class _ProcessGuard:
    """A supervisor process that stops its broker when this process or the block ends, unless detached."""

    def __init__(self, settings: Broker) -> None:
        self._settings = settings
        self._deadline = time.monotonic() + settings.start_seconds
        kraft.find_jvm()
        log = _log_of_jvm(settings)
        read_end, self._write_end = os.pipe()
        try:
            with log.open("ab") as output:
                self._supervisor = subprocess.Popen(
                    [sys.executable, "-P", "-m", "local.supervisor", settings.model_dump_json()],
                    stdin=read_end,
                    stdout=output,
                    stderr=output,
                    env=process_environment.of_children(),  # the broker's JVM inherits it
                    start_new_session=True,  # Ctrl-C interrupts this process only; the pipe then closes
                )
        finally:
            os.close(read_end)

    def __enter__(self) -> "_ProcessGuard":
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._write_end)
        if not _wait_until(lambda: self._supervisor.poll() is not None or self._is_detached(), _STOP_SECONDS):
            raise BrokerFailed(f"process {self._supervisor.pid} does not stop its broker; stop it by hand")

    def wait_until_up(self) -> State:
        """Wait until a broker answers: this one, or another process's that started at the same time."""
        return self._wait_for_state(lambda current: True)

    def detach(self) -> State:
        """Let the broker keep running after this process; another process's broker stays as it is."""
        if self._supervisor.poll() == supervisor.BUSY:
            return self.wait_until_up()
        os.write(self._write_end, b"d")
        return self._wait_for_state(lambda current: not current.leashed)

    def _is_detached(self) -> bool:
        current = state.running(self._settings)
        return current is not None and not current.leashed

    def _wait_for_state(self, condition: Callable[[State], bool]) -> State:
        matching: list[State] = []

        def matches_or_stopped() -> bool:
            current = state.running(self._settings)
            if current is not None and condition(current):
                matching.append(current)
            return bool(matching) or self._supervisor.poll() not in (None, supervisor.BUSY)

        in_time = _wait_until(matches_or_stopped, self._deadline - time.monotonic())
        if matching:
            return matching[0]
        what = "stopped" if in_time else f"is not up after {self._settings.start_seconds:g} s"
        error = kraft.last_error(self._settings) or "no error in its log"
        raise BrokerFailed(f"the broker {what}: {error} (see {kraft.log_folder(self._settings)})")


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition until it is true; False after a timeout."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(_POLL_SECONDS)
    return True
