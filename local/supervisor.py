"""The broker's supervisor process: stops the broker when the process that started it ends.

Started as `python -m local.supervisor SETTINGS` in a session of its own. Its standard input is the read end
of a pipe from the process that started it, the starter. End of file means that the starter has ended, even
by SIGKILL: the broker is stopped. One byte means "detach": the broker then runs until SIGTERM.
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

BUSY = 75  # EX_TEMPFAIL: another supervisor holds the lock
STOP_SECONDS = 20.0
_STARTER_PIPE = 0  # file descriptor
_POLL_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


class _StopRequested(Exception):
    """The broker must stop: its starter has ended, or a signal arrived."""


class Supervisor:
    """Runs one broker on a locked folder.

    Args:
        settings: of the broker.
        lock: descriptor of the held lock. The broker inherits it, so the lock is held while either runs.
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
        """Start the broker, and stop it on request; returns when it has ended.

        Returns:
            the exit status: 0 after a requested stop, 1 if the broker died or did not start.
        """
        ports = kraft.prepare(self._settings)
        try:
            if not kraft.data_folder(self._settings).exists():
                if self._run_command(kraft.format_command(self._settings), self._do_nothing) != 0:
                    return 1
                kraft.activate_data_folder(self._settings)
            publisher = _StatePublisher(self._settings, ports, self)
            self._run_command(kraft.run_command(self._settings), publisher)
        except _StopRequested:
            return 0
        finally:
            state.clear(self._settings)
        return 1

    @property
    def leashed(self) -> bool:
        """Whether the broker stops when its starter ends."""
        return self._leashed

    def _run_command(self, command: list[str], on_poll: Callable[[], None]) -> int:
        """Run a command to its end or until a stop is requested; always stops its process."""
        with (kraft.log_folder(self._settings) / "broker.out").open("ab") as output:
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
                on_poll()
        finally:
            _terminate(child)
        return child.returncode

    def _wait(self) -> None:
        """Wait for the poll interval, or until the pipe or a signal wakes it up."""
        watched = [self._signals.fileno()] + ([_STARTER_PIPE] if self._leashed else [])
        ready = _ready(watched, _POLL_SECONDS)
        if self._stopping:
            raise _StopRequested
        if _STARTER_PIPE in ready:
            if not os.read(_STARTER_PIPE, 1):
                raise _StopRequested
            self._leashed = False

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True

    def _do_nothing(self) -> None:
        """Called on each poll while the data folder is formatted."""


class _StatePublisher:
    """Keeps the state file up to date: writes it when the broker answers, and again after a detach."""

    def __init__(self, settings: Broker, ports: kraft.Ports, supervisor: Supervisor) -> None:
        self._settings = settings
        self._supervisor = supervisor
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._state = state.State(ports.bootstrap, os.getpid(), started, leashed=True)
        self._up = False

    def __call__(self) -> None:
        if not self._up and _broker_answers(self._state.bootstrap):
            self._up = True
            state.save(self._settings, self._state)
        if self._up and self._state.leashed != self._supervisor.leashed:
            self._state = replace(self._state, leashed=self._supervisor.leashed)
            state.save(self._settings, self._state)


def _ready(descriptors: Sequence[int], seconds: float) -> dict[int, int]:
    """Descriptors that are readable or at their end. Uses poll(): select() fails above descriptor 1,023."""
    watched = select.poll()
    for descriptor in descriptors:
        watched.register(descriptor, select.POLLIN)
    return dict(watched.poll(seconds * 1000))


def _broker_answers(bootstrap: str) -> bool:
    """Whether a Kafka client can connect to the broker."""
    host, _, port = bootstrap.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(_POLL_SECONDS)
        if probe.connect_ex((host, int(port))) != 0:
            return False
    try:
        client = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=2000)
    except KafkaError:
        return False
    client.close()
    return True


def _terminate(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _die_with_parent() -> None:
    """Make Linux kill the broker when the supervisor is killed."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_LIBC = ctypes.CDLL(None)  # loaded here, because the forked child must not allocate memory


def _acquire_lock(settings: Broker) -> int | None:
    """Acquire the lock; waits while another broker stops. None if one is up, or if the starter ends."""
    deadline = time.monotonic() + settings.start_seconds
    while (descriptor := state.lock(settings)) is None:
        if state.running(settings) or time.monotonic() > deadline:
            return None
        if _ready([_STARTER_PIPE], _POLL_SECONDS / 4):
            return None
    return descriptor


def main() -> int:
    """Supervise a broker, with its settings as a JSON argument.

    Returns:
        the exit status: 0 after a requested stop, 1 if the broker failed, `BUSY` if another one is running.
    """
    settings = Broker.model_validate_json(sys.argv[1])
    descriptor = _acquire_lock(settings)
    if descriptor is None:
        return BUSY
    try:
        return Supervisor(settings, descriptor).run()
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
