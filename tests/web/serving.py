"""`hub serve`, on a free port, and `hub ingest`, each in a process of its own."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from conf.settings import Settings
from tests.support.commands import hub_command


@dataclass
class Served:
    """A running server: its address and process."""

    url: str
    process: "subprocess.Popen[str]"
    seconds: float

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def resident(self) -> int:
        """Resident bytes of the process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the process and wait for its end; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(40)


def environment(settings: Settings, port: int = 0) -> dict[str, str]:
    """The environment of commands that share a lake, a cluster and a web folder with the test."""
    kafka = settings.kafka
    return os.environ | {
        "HUB__LAKE__ROOT": settings.lake.root,
        "HUB__INGEST__INDEX_DIR": str(settings.ingest.index_dir),
        "HUB__KAFKA__BOOTSTRAP": kafka.bootstrap,
        "HUB__KAFKA__TOPIC": kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": kafka.rejected_topic,
        "HUB__KAFKA__VERDICTS_TOPIC": kafka.verdicts_topic,
        "HUB__FACES__ENABLED": str(settings.faces.enabled),
        "HUB__WEB__DIR": str(settings.web.dir),
        "HUB__WEB__PORT": str(port),
        "HUB__WEB__REFRESH_SECONDS": str(settings.web.refresh_seconds),
        "HUB__WEB__TRAININGS_AT_ONCE": str(settings.web.trainings_at_once),
        "HUB__LABELS__READY_IMAGES": str(settings.labels.ready_images),
        "HUB__WEB__BODY_SECONDS": str(settings.web.body_seconds),
        "HUB__WEB__ACKNOWLEDGE_SECONDS": str(settings.web.acknowledge_seconds),
    }


@contextmanager
def served(settings: Settings, port: int = 0, *arguments: str) -> Iterator[Served]:
    """A server while the block runs."""
    begun = time.monotonic()
    process = subprocess.Popen(
        hub_command("serve", "--json", *arguments),
        stdout=subprocess.PIPE,
        stderr=None,
        text=True,
        env=environment(settings, port),
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield Served(json.loads(line)["url"], process, time.monotonic() - begun)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(40)
        process.stdout.close()


@contextmanager
def ingesting(settings: Settings, output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A running ingestion while the block runs, or until the block ends it.

    Args:
        output: a file for what it prints.
    """
    with output.open("wb") as file:
        process = subprocess.Popen(
            hub_command("ingest"), stdout=file, stderr=file, env=environment(settings), start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(90)
