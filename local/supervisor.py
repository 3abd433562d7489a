"""The process between the hub and its broker: stops the broker when whoever started it dies.

Started as `python -m local.supervisor SETTINGS` in a session of its own. Its standard input is the read end
of a pipe, the leash. End of file on it means that the starter is gone, however it went, so the broker is
stopped. One byte on it means that the broker shall stay: it then runs until SIGTERM.
"""

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from conf.sections import Broker
from local import kraft, state
from local.errors import LocalError

BUSY = 75  # EX_TEMPFAIL: another supervisor holds the folder
STOP_SECONDS = 20.0
_LEASH = 0
_TURN_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


class _Stop(Exception):
    """The broker shall go: the leash fell, or a signal came."""


class Supervisor:
    """Runs one broker on the folder that it has locked.

    Args:
        settings: of the broker.
        lock: descriptor of the held lock; the broker inherits it, so the lock tells of either.
    """

    def __init__(self, settings: Broker, lock: int) -> None:
        self._settings = settings
        self._lock = lock
        self._leashed = True
        self._stopping = False
        self._signals, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        signal.set_wakeup_fd(wakeup.fileno())
        self._wakeup = wakeup
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def run(self) -> int:
        """Start the broker, watch it until it shall go or dies, and stop it.

        Returns:
            the exit status: 0 after an orderly stop, 1 where the broker died or never came up.
        """
        ports = kraft.prepare(self._settings)
        try:
            if not kraft.data(self._settings).exists():
                if self._call(kraft.format_command(self._settings), self._nothing) != 0:
                    return 1
                kraft.keep_formatted(self._settings)
            self._call(kraft.run_command(self._settings), _Announcement(self._settings, ports, self))
        except _Stop:
            return 0
        finally:
            state.forget(self._settings)
        return 1

    @property
    def leashed(self) -> bool:
        """Whether the broker goes when its starter does."""
        return self._leashed

    def _call(self, command: list[str], each_turn: Callable[[], None]) -> int:
        """Run a command to its end, or until it shall stop; never leaves it running."""
        with (kraft.logs(self._settings) / "broker.out").open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._settings.dir,
                pass_fds=(self._lock,),
                preexec_fn=_die_with_parent,
            )
        try:
            while child.poll() is None:
                self._wait()
                each_turn()
        finally:
            _stop(child)
        return child.returncode

    def _wait(self) -> None:
        """Wait for a turn's time, or less where the leash or a signal has news."""
        watched = [self._signals.fileno()] + ([_LEASH] if self._leashed else [])
        ready = _ready(watched, _TURN_SECONDS)
        if self._stopping:
            raise _Stop
        if _LEASH in ready:
            if not os.read(_LEASH, 1):
                raise _Stop
            self._leashed = False

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True

    def _nothing(self) -> None:
        """What there is to do each turn while the data folder is made."""


class _Announcement:
    """Keeps the state file true: writes it once the broker answers, and again once the leash is off."""

    def __init__(self, settings: Broker, ports: kraft.Ports, supervisor: Supervisor) -> None:
        self._settings = settings
        self._supervisor = supervisor
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._state = state.State(ports.bootstrap, os.getpid(), started, leashed=True)
        self._up = False

    def __call__(self) -> None:
        if not self._up and _answers(self._state.bootstrap):
            self._up = True
            state.keep(self._settings, self._state)
        if self._up and self._state.leashed != self._supervisor.leashed:
            self._state = replace(self._state, leashed=self._supervisor.leashed)
            state.keep(self._settings, self._state)


def _ready(descriptors: Sequence[int], seconds: float) -> dict[int, int]:
    """Those that can be read or are at their end, within a time; select() would take none above 1,023."""
    watched = select.poll()
    for descriptor in descriptors:
        watched.register(descriptor, select.POLLIN)
    return dict(watched.poll(seconds * 1000))


def _answers(bootstrap: str) -> bool:
    """Whether a broker at the address tells its metadata."""
    host, _, port = bootstrap.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(_TURN_SECONDS)
        if probe.connect_ex((host, int(port))) != 0:
            return False
    try:
        client = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=2000)
    except KafkaError:
        return False
    client.close()
    return True


def _stop(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _die_with_parent() -> None:
    """Let Linux kill the broker if the supervisor itself is killed."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_LIBC = ctypes.CDLL(None)  # loaded before the fork, where nothing may be allocated


def _locked(settings: Broker) -> int | None:
    """Take the lock, waiting for a broker that is stopping; none where one is up or the leash falls."""
    deadline = time.monotonic() + settings.start_seconds
    while (descriptor := state.lock(settings)) is None:
        if state.running(settings) or time.monotonic() > deadline:
            return None
        if _ready([_LEASH], _TURN_SECONDS / 4):
            return None
    return descriptor


def main() -> int:
    """Supervise a broker with the settings given as JSON.

    Returns:
        the exit status: 0 after an orderly stop, 1 for a broker that failed, `BUSY` where another one runs.
    """
    settings = Broker.model_validate_json(sys.argv[1])
    descriptor = _locked(settings)
    if descriptor is None:
        return BUSY
    try:
        return Supervisor(settings, descriptor).run()
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
