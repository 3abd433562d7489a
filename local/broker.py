"""Starting, finding and stopping the embedded Kafka broker."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from conf.sections import Broker
from conf.settings import Settings
from local import kraft, state, supervisor
from local.errors import BrokerFailed, NoBroker
from local.state import State

_POLL_SECONDS = 0.05
_STOP_SECONDS = supervisor.STOP_SECONDS + 5


def address(settings: Settings) -> str:
    """Where clients connect: the cluster of the settings, or else the embedded broker.

    Raises:
        NoBroker: none is set and none runs.
    """
    if settings.kafka.bootstrap:
        return settings.kafka.bootstrap
    found = state.running(settings.broker)
    if found is None:
        raise NoBroker("no broker: run `hub up`, or set HUB__KAFKA__BOOTSTRAP")
    return found.bootstrap


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """A broker for as long as the block: one that runs already, or one that stops at the block's end.

    Yields:
        where clients connect.

    Raises:
        PartsMissing: no Java or no JVM parts.
        BrokerFailed: it does not come up.
    """
    found = state.running(settings.broker)
    if found is not None:
        yield found.bootstrap
        return
    with _ProcessGuard(settings.broker) as leash:
        yield leash.wait_until_up().bootstrap


def up(settings: Settings) -> State:
    """Start a broker that stays when this process ends, unless one runs already.

    Raises:
        PartsMissing: no Java or no JVM parts.
        BrokerFailed: it does not come up.
    """
    found = state.running(settings.broker)
    if found is not None:
        return found
    with _ProcessGuard(settings.broker) as leash:
        leash.wait_until_up()
        return leash.take_off()


def down(settings: Settings) -> int | None:
    """Stop the embedded broker, even one that is still starting.

    Returns:
        the process id of the supervisor that was stopped, or None where nothing ran.

    Raises:
        BrokerFailed: it does not stop.
    """
    pid = state.holder(settings.broker)
    if pid is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not _comes_true(lambda: state.holder(settings.broker) is None, _STOP_SECONDS):
        raise BrokerFailed(f"the broker of process {pid} does not stop; see {kraft.logs(settings.broker)}")
    return pid


class _ProcessGuard:
    """A supervisor that stops its broker when this process ends or the block does, unless it is taken off."""

    def __init__(self, settings: Broker) -> None:
        self._settings = settings
        self._deadline = time.monotonic() + settings.start_seconds
        kraft.check_parts()
        logs = kraft.logs(settings)
        logs.mkdir(parents=True, exist_ok=True)
        held, self._end = os.pipe()
        try:
            with (logs / "broker.out").open("ab") as output:
                self._supervisor = subprocess.Popen(
                    [sys.executable, "-P", "-m", "local.supervisor", settings.model_dump_json()],
                    stdin=held,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C is for the starter, which then lets the leash fall
                )
        finally:
            os.close(held)

    def __enter__(self) -> "_ProcessGuard":
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._end)
        if not _comes_true(lambda: self._supervisor.poll() is not None or self._is_off(), _STOP_SECONDS):
            raise BrokerFailed(f"process {self._supervisor.pid} does not stop its broker; stop it by hand")

    def wait_until_up(self) -> State:
        """The broker's state once it answers; that of another one where that was faster."""
        return self._state_when(lambda found: True)

    def take_off(self) -> State:
        """Let the broker stay when this process ends; one that is leashed elsewhere is left as it is."""
        if self._supervisor.poll() == supervisor.BUSY:
            return self.wait_until_up()
        os.write(self._end, b"d")
        return self._state_when(lambda found: not found.leashed)

    def _is_off(self) -> bool:
        found = state.running(self._settings)
        return found is not None and not found.leashed

    def _state_when(self, holds: Callable[[State], bool]) -> State:
        found: list[State] = []

        def settled() -> bool:
            now = state.running(self._settings)
            if now is not None and holds(now):
                found.append(now)
            return bool(found) or self._supervisor.poll() not in (None, supervisor.BUSY)

        settled_in_time = _comes_true(settled, self._deadline - time.monotonic())
        if found:
            return found[0]
        what = "stopped" if settled_in_time else f"is not up after {self._settings.start_seconds:g} s"
        complaint = kraft.last_complaint(self._settings) or "no word from it"
        raise BrokerFailed(f"the broker {what}: {complaint} (see {kraft.logs(self._settings)})")


def _comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition holds within the time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(_POLL_SECONDS)
    return True
