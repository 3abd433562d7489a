"""Measure `hub serve` on a lake of many uploads, with a broker of its own.

    make bench-web                  # 100,000 images; IMAGES=1000000
    python -m benchmarks.web --vectors 64 --verdicts 40

A page is timed beside an answer without content: the difference is what its query and its template cost.
Uploads are 100 KB each, sent by 16 clients at a time; every one is acknowledged by Kafka. Memory is the
resident size of the process. Predictions are timed beside LiteRT alone and, if it is installed, Gradio.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import httpx

from benchmarks.ground import empty_folder, settings_in
from benchmarks.web import lake, predictions
from benchmarks.web import verdicts as verdict_waits
from benchmarks.web.load import Times, measure
from conf.settings import Settings
from jobs.cli.text_table import format_table
from local import broker
from streaming import topics
from tests.support import pictures

_UPLOADS = 3000
_UPLOAD_BYTES = 100_000
_CLIENTS = 16


@dataclass(frozen=True)
class Amounts:
    """Rows of the ledger, uploads that are sent, size of the embeddings, and verdicts that are timed."""

    images: int
    uploads: int
    vectors: int
    verdicts: int


@click.command()
@click.option("--images", type=int, default=100_000, show_default=True, help="Rows of the ledger.")
@click.option("--uploads", type=int, default=_UPLOADS, show_default=True)
@click.option("--vectors", type=int, default=1280, show_default=True, help="Size of the embeddings; 0: none.")
@click.option("--verdicts", type=int, default=40, show_default=True, help="Timed verdicts; 0: none.")
def main(images: int, uploads: int, vectors: int, verdicts: int) -> None:
    """Measure, print a table, write build/bench/web.json."""
    folder = empty_folder("web")
    settings = settings_in(folder)
    settings = settings.model_copy(
        update={
            "web": settings.web.model_copy(
                update={"dir": folder / "web", "uploads_per_minute": 10**9, "predictions_per_minute": 10**9}
            ),
            "organize": settings.organize.model_copy(update={"index_dir": folder / "vectors"}),
        }
    )
    click.echo(f"writing {images:,} rows …", err=True)
    lake.write(settings, images)
    predictions.write_model(settings)
    if vectors:
        lake.write_embeddings(settings, images, vectors)
    with broker.running(settings) as bootstrap:
        kafka = settings.kafka.model_copy(update={"bootstrap": bootstrap})
        topics.create(kafka, bootstrap)
        amounts = Amounts(images, uploads, vectors, verdicts)
        results = _measure(settings.model_copy(update={"kafka": kafka}), amounts)
    (folder.parent / "web.json").write_text(json.dumps(results, indent=1))
    rows = [[t["name"], t["requests"], round(t["median"], 1), round(t["p95"], 1), round(t["rate"])]
            for t in results["times"]]  # fmt: skip
    click.echo(format_table(["request", "count", "median ms", "p95 ms", "a second"], rows))
    for name in (
        "first_page_seconds",
        "tables_seconds",
        "resident_mb",
        "of_it_mapped_files_mb",
        "resident_after_uploads_mb",
    ):
        click.echo(f"{name.replace('_', ' '):28} {results[name]:.1f}")
    for name, value in (results["verdicts"] or {}).items():
        if name != "uploads":
            click.echo(f"verdict, {name.replace('_', ' ')} (s): median {value[0]:.1f}, p95 {value[1]:.1f}")
    if not predictions.GRADIO.exists():
        click.echo(f"Gradio was skipped; to compare: {predictions.INSTALL}")


def _measure(settings: Settings, amounts: "Amounts") -> dict[str, Any]:
    begun, images = time.perf_counter(), amounts.images
    server, url = _start(settings)
    try:
        httpx.get(url, timeout=60).raise_for_status()
        first_page = time.perf_counter() - begun
        while httpx.get(f"{url}/readyz", timeout=60).json()["tables"]:
            time.sleep(0.1)
        while httpx.get(f"{url}/api/v1/uploads?limit=1", timeout=60).json()["items"] == []:
            time.sleep(0.1)
        tables = time.perf_counter() - begun
        times = _pages(url, images)
        if amounts.vectors:
            times.append(_similar(url, amounts))
        times += predictions.measure_all(settings, url)
        before, mapped = _resident(server.pid)
        content = pictures.jpeg(seed=1)
        content += bytes(_UPLOAD_BYTES - len(content))
        times.append(
            measure(
                f"POST /uploads, 100 KB, {_CLIENTS} clients",
                lambda client, n: client.post("/api/v1/uploads?label=cat", content=content),
                url,
                amounts.uploads,
                _CLIENTS,
                202,
            )
        )
        after, _ = _resident(server.pid)
        environment, waits = _environment(settings), None
        if amounts.verdicts:
            waits = verdict_waits.measure(
                url, environment, amounts.verdicts, settings.web.dir.with_name("ingest.log")
            )
        return {
            "images": images,
            "first_page_seconds": first_page,
            "tables_seconds": tables,
            "resident_mb": before / 2**20,
            "of_it_mapped_files_mb": mapped / 2**20,
            "resident_after_uploads_mb": after / 2**20,
            "verdicts": asdict(waits) if waits else None,
            "times": [asdict(each) for each in times],
        }
    finally:
        server.terminate()
        server.wait(60)


def _pages(url: str, images: int) -> list[Times]:
    def upload_id(number: int) -> str:
        return f"{(number * 7919 + 1) % images // 20 * 20 + 1:032x}"

    with httpx.Client(base_url=url) as client:
        middle = client.get("/api/v1/uploads", params={"limit": 200}).json()["next"]
    paths = {
        "no content": lambda n: "/healthz",
        "home page": lambda n: "/",
        "uploads, first page": lambda n: "/api/v1/uploads?limit=50",
        "uploads, later page": lambda n: f"/api/v1/uploads?limit=50&after={middle}",
        "uploads of a user": lambda n: f"/api/v1/uploads?limit=50&user=user-{n % 500}",
        "samples of a label": lambda n: f"/api/v1/samples?limit=50&label=label-{n % lake.LABEL_COUNT:03}",
        "labels": lambda n: "/api/v1/labels",
        "my uploads page": lambda n: "/mine",
        "an upload by its id": lambda n: f"/api/v1/uploads/{upload_id(n)}",
        "thumbnail, not cached": lambda n: f"/api/v1/uploads/{upload_id(n)}/picture?size=thumbnail",
        "thumbnail, cached": lambda n: f"/api/v1/uploads/{upload_id(n % 20)}/picture?size=thumbnail",
    }
    return [
        measure(name, lambda client, n, path=path: client.get(path(n)), url, 200)  # type: ignore[misc]
        for name, path in paths.items()
    ]


def _similar(url: str, amounts: "Amounts") -> Times:
    """Pictures like one of the lake; the first question opens the index."""

    def path(number: int) -> str:
        return f"/api/v1/similar/{lake.image_id(number * 7919 % amounts.images // 20 * 20 + 1)}"

    httpx.get(url + path(0), timeout=300).raise_for_status()
    name = f"similar, {amounts.images:,} × {amounts.vectors:,}"
    return measure(name, lambda client, n: client.get(path(n)), url, 200)


def _start(settings: Settings) -> "tuple[subprocess.Popen[str], str]":
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "jobs.hub", "serve", "--json"], stdout=subprocess.PIPE, text=True,
        env=_environment(settings),
    )  # fmt: skip
    assert server.stdout is not None
    return server, json.loads(server.stdout.readline())["url"]


def _environment(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "HUB__LAKE__ROOT": settings.lake.root,
        "HUB__BROKER__DIR": str(settings.broker.dir),
        "HUB__INGEST__INDEX_DIR": str(settings.ingest.index_dir),
        "HUB__ORGANIZE__INDEX_DIR": str(settings.organize.index_dir),
        "HUB__WEB__DIR": str(settings.web.dir),
        "HUB__WEB__PORT": "0",
        "HUB__WEB__UPLOADS_PER_MINUTE": str(settings.web.uploads_per_minute),
        "HUB__WEB__PREDICTIONS_PER_MINUTE": str(settings.web.predictions_per_minute),
    }


def _resident(pid: int) -> tuple[int, int]:
    """Resident bytes of a process, and those of files among them, which the kernel can drop."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE"), int(pages[2]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
