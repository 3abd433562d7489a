"""Carries trainings out, one after the other, each in a process that outlives this server.

The process writes its result and its errors into files. So a server that was restarted finds it again by its
process id and start time, waits for its end, and reads the result.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from web.trainings.training_request import TrainingRequest
from web.trainings.training_store import OPEN, Training, TrainingState, TrainingStore

HUB = (sys.executable, "-P", "-m", "jobs.hub")
_LOOK_SECONDS = 0.5
_KILL_SECONDS = 60.0  # between asking a process to end and killing it
_MODEL = re.compile(rb"^training (\S+)$", re.MULTILINE)
_ERROR = re.compile(r"^hub( \w+)*: error: ")
_LINES = 12


class TrainingQueue:
    """The queue of one server.

    Args:
        folder: of the store and the processes' output.
        at_once: trainings that run at the same time.
        program: what is run with the words of a request.
        environment: of the processes; None: this process's.
    """

    def __init__(
        self, folder: Path, at_once: int, program: Sequence[str] = HUB,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._at_once, self._program = folder / "trainings", at_once, list(program)
        self._environment = environment
        self._folder.mkdir(parents=True, exist_ok=True)
        self.store = TrainingStore(folder / "trainings.db")
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._asked_to_end: dict[str, float] = {}
        self._stopped, self._wake = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # between starting a process and cancelling it
        self._thread = threading.Thread(target=self._run, name="trainings", daemon=True)

    def start(self) -> None:
        """Begin to carry out what is queued, and to wait for what runs."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to look. Trainings go on; the next server finds them."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self.store.close()

    def ask(self, request: TrainingRequest, user: str) -> Training:
        """Put a training at the end of the queue."""
        training = self.store.add(request, user)
        self._wake.set()
        return training

    def cancel(self, training_id: str) -> Training | None:
        """Take a training out of the queue, or ask its process to end; None if there is none."""
        with self._lock:
            training = self.store.get(training_id)
            if training is None or training.state not in OPEN:
                return training
            if training.state is TrainingState.RUNNING and self._is_alive(training):
                self._asked_to_end.setdefault(training_id, time.monotonic())
                with suppress(ProcessLookupError):
                    os.kill(training.pid or 0, signal.SIGINT)
            self.store.end(training_id, TrainingState.CANCELLED)
        self._wake.set()
        return self.store.get(training_id)

    def place(self, training_id: str) -> int:
        """How many trainings are before one in the queue."""
        waiting = [each.training_id for each in self.store.open()]
        return waiting.index(training_id) if training_id in waiting else 0

    def messages(self, training_id: str) -> list[str]:
        """The last lines that the process wrote to standard error."""
        with suppress(OSError):
            content = self._file(training_id, "err").read_bytes()[-8000:]
            return content.decode(errors="replace").replace("\r", "\n").splitlines()[-_LINES:]
        return []

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            self._look()
            self._wake.wait(_LOOK_SECONDS)

    def _look(self) -> None:
        """Take note of ends and models, kill what does not end, and start what may run."""
        running = 0
        for training in self.store.open():
            if training.state is TrainingState.RUNNING:
                if self._is_alive(training):
                    running += 1
                    self._note_model(training)
                else:
                    self._finish(training)
        running += self._end_cancelled()
        for training in self.store.open():
            if training.state is TrainingState.QUEUED and running < self._at_once:
                running += self._begin(training.training_id)

    def _begin(self, training_id: str) -> int:
        with self._lock:
            training = self.store.get(training_id)
            if training is None or training.state is not TrainingState.QUEUED:
                return 0
            with (
                self._file(training_id, "out").open("wb") as out,
                self._file(training_id, "err").open("wb") as err,
            ):
                child = subprocess.Popen(
                    [*self._program, *training.request.arguments()], stdin=subprocess.DEVNULL, stdout=out,
                    stderr=err, start_new_session=True, env=self._environment,
                )  # fmt: skip
            self._children[training_id] = child
            self.store.begin(training_id, child.pid, _start_time(child.pid) or 0)
        return 1

    def _end_cancelled(self) -> int:
        """Kill cancelled processes that do not end; those that have not ended still use the cluster."""
        alive = 0
        for training_id, asked in list(self._asked_to_end.items()):
            training = self.store.get(training_id)
            if training is None or not self._is_alive(training):
                self._asked_to_end.pop(training_id)
                continue
            alive += 1
            if time.monotonic() - asked > _KILL_SECONDS:
                with suppress(ProcessLookupError):
                    os.killpg(training.pid or 0, signal.SIGKILL)
        return alive

    def _finish(self, training: Training) -> None:
        self._note_model(training)
        try:
            result = json.loads(self._file(training.training_id, "out").read_bytes())
            self.store.set_model(training.training_id, str(result["model_id"]))
            self.store.end(training.training_id, TrainingState.DONE)
        except (OSError, ValueError, KeyError, TypeError):
            lines = [line for line in self.messages(training.training_id) if line.strip()]
            why = _ERROR.sub("", lines[-1]) if lines else "its process ended without a result"
            self.store.end(training.training_id, TrainingState.FAILED, why)

    def _note_model(self, training: Training) -> None:
        if training.model_id is None:
            with suppress(OSError):
                found = _MODEL.findall(self._file(training.training_id, "err").read_bytes())
                if found:
                    self.store.set_model(training.training_id, found[-1].decode(errors="replace"))

    def _is_alive(self, training: Training) -> bool:
        child = self._children.get(training.training_id)
        if child is not None:
            return child.poll() is None
        return training.pid is not None and _start_time(training.pid) == training.pid_started

    def _file(self, training_id: str, ending: str) -> Path:
        return self._folder / f"{training_id}.{ending}"


def _start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None if it does not run (proc(5), field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
