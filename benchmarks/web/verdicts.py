"""From the acknowledgement of an upload to its verdict as a server-sent event, beside `hub ingest`."""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hub_client import HubClient, UploadStatus
from tests.support import pictures

_EVERY_SECONDS = 1.3  # so that they fall on all moments between two micro-batches
_PATIENCE = 120.0
_SILENT_SECONDS = 5.0


@dataclass(frozen=True)
class Waits:
    """Seconds of uploads (median, p95): from the acknowledgement to the verdict, and its two parts."""

    uploads: int
    all: tuple[float, float]
    until_verified: tuple[float, float]
    until_told: tuple[float, float]


def measure(url: str, environment: dict[str, str], uploads: int, log: Path) -> Waits:
    """Run an ingestion beside a server, send pictures, and wait for the verdicts as server-sent events.

    Args:
        log: takes what the ingestion prints.
    """
    command = [sys.executable, "-P", "-m", "jobs.hub", "ingest"]
    with log.open("wb") as output:
        ingestion = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        return _measure(url, uploads)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; hub ingest said: {log.read_text()[-2000:]}") from None
    finally:
        ingestion.terminate()
        ingestion.wait(60)


def _measure(url: str, uploads: int) -> Waits:
    told: dict[str, tuple[float, UploadStatus]] = {}
    listener = threading.Thread(target=_listen, args=(url, told), daemon=True)
    listener.start()
    with HubClient(url) as hub:
        hub.upload(pictures.jpeg(seed=10_000), "cat", upload_id="first")
        hub.wait_for_verdict("first", _PATIENCE)  # Spark has started, and compiled its code
        _wait_for_silence(told)
        stored: dict[str, float] = {}
        for number in range(uploads):
            time.sleep(_EVERY_SECONDS)
            name = f"timed-{number}"
            hub.upload(pictures.jpeg(seed=number), "cat", upload_id=name)
            stored[name] = time.time()
        _wait_for(told, set(stored))
    whole, verified, late = [], [], []
    for name, begun in stored.items():
        seen, status = told[name]
        checked = datetime.fromisoformat(status.ingest_time or "").astimezone(UTC).timestamp()
        whole.append(seen - begun)
        verified.append(checked - begun)
        late.append(seen - checked)
    return Waits(uploads, _summary(whole), _summary(verified), _summary(late))


def _listen(url: str, told: dict[str, tuple[float, UploadStatus]]) -> None:
    with HubClient(url) as hub:
        for _, status in hub.verdicts():
            told.setdefault(status.id, (time.time(), status))


def _wait_for_silence(told: dict[str, tuple[float, UploadStatus]]) -> None:
    """Wait until no more verdicts come on the uploads that the lake had before."""
    known, since = -1, time.monotonic()
    while time.monotonic() - since < _SILENT_SECONDS:
        if len(told) != known:
            known, since = len(told), time.monotonic()
        time.sleep(0.1)


def _wait_for(told: dict[str, tuple[float, UploadStatus]], names: set[str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not names <= told.keys():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no verdict on {len(names - told.keys())} uploads after {_PATIENCE:g} s")
        time.sleep(0.02)


def _summary(seconds: list[float]) -> tuple[float, float]:
    median, p95 = np.percentile(seconds, (50, 95))
    return float(median), float(p95)
