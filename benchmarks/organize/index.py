"""The index of embeddings: 10,000 new images against 100,000 and against 1,000,000 that are indexed.

    python -m benchmarks.organize.index [--size N]…

Vectors are synthetic (benchmarks/organize/synthetic.py): a third of the new images are near duplicates of
indexed ones. Each step runs in a process of its own, whose peak memory is its driver's. For each size: the
index is built from a Delta table; then 10,000 rows are committed, the index is brought up to date, and each
of them is searched. Recall is the share of the 10 nearest of an exact search (faiss, all vectors) that the
index finds, of 1,000 of the new images. One line of JSON for each size, and one with the ratio.
"""

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.organize.synthetic import Pictures, pictures
from conf import settings as hub
from conf.places import base_dir
from conf.sections import Lake
from conf.settings import Settings
from lake.table import Table

MODEL, NEW, NEAREST, CHECKED = "efficientnet-lite0-128", 10_000, 10, 1000
_FILE_ROWS, _QUERIES = 20_000, "new.npy"


@click.command()
@click.option("--size", "sizes", type=int, multiple=True, default=(100_000, 1_000_000), show_default=True)
@click.option("--keep", is_flag=True, help="Keep the tables and indexes.")
def main(sizes: tuple[int, ...], keep: bool) -> None:
    """Measure each size, and compare them."""
    results = []
    for size in sizes:
        folder = base_dir() / "build" / "bench-organize" / str(size)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            results.append({"size": size} | _measure(folder, size))
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
        print(json.dumps(results[-1]), flush=True)
    if len(results) > 1:
        ratio = results[-1]["seconds"] / results[0]["seconds"]
        print(json.dumps({"time_ratio": round(ratio, 2), "of": [each["size"] for each in results]}))


def _measure(folder: Path, size: int) -> dict[str, Any]:
    _in_process(_write, folder, size, 2)
    built = _in_process(_open, folder)
    _in_process(_write_new, folder, size)
    searched = _in_process(_search, folder)
    exact = _in_process(_exact, folder, size, searched.pop("found"))
    return {
        "build_seconds": built["seconds"], "build_peak_mb": built["peak_mb"], **searched, **exact,
        "index_mb": round(sum(file.stat().st_size for file in folder.rglob("*.faiss")) / 1e6),
    }  # fmt: skip


def _in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def settings_of(folder: Path) -> Settings:
    """Settings of a lake and an index in a folder."""
    settings = hub.load()
    organize = settings.organize.model_copy(update={"index_dir": folder / "vectors"})
    return settings.model_copy(update={"lake": Lake(root=str(folder / "lake")), "organize": organize})


def image_id(number: int) -> str:
    """The id of a synthetic picture."""
    return sha256(str(number).encode()).hexdigest()


def new_pictures(size: int) -> Pictures:
    """The new pictures: a third are near duplicates of indexed ones."""
    copies = pictures(size, 2).near_duplicates(np.arange(0, size, size // (NEW // 3))[: NEW // 3], 4)
    fresh = pictures(NEW - len(copies), 3)
    return Pictures(np.concatenate([copies.latent, fresh.latent]), fresh.lift)


def _write(folder: Path, size: int, seed: int) -> None:
    made = pictures(size, seed)
    for first in range(0, size, _FILE_ROWS):
        _append(folder, first, made.vectors(first, first + _FILE_ROWS))


def _write_new(folder: Path, size: int) -> None:
    vectors = new_pictures(size).vectors()
    np.save(folder / _QUERIES, vectors)  # so that the search does not make them, which takes much memory
    _append(folder, size, vectors)


def _append(folder: Path, first: int, vectors: Any) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    from organize.features.vectors import to_column

    rows = pa.table(
        {
            "image_id": [image_id(first + number) for number in range(len(vectors))],
            "model_id": [MODEL] * len(vectors),
            "vector": to_column(vectors),
            "created": pa.array([datetime.now(UTC)] * len(vectors), pa.timestamp("us", "UTC")),
        }
    )
    write_deltalake(settings_of(folder).lake.at(Table.EMBEDDINGS), rows, mode="append")


def _open(folder: Path) -> dict[str, Any]:
    from organize.index.vector_index import VectorIndex

    began = time.monotonic()
    VectorIndex.open(None, settings_of(folder), MODEL)
    return {"seconds": round(time.monotonic() - began, 1), "peak_mb": _peak_mb()}


def _search(folder: Path) -> dict[str, Any]:
    from organize.index.vector_index import VectorIndex

    vectors = np.load(folder / _QUERIES)
    before = _peak_mb()
    began = time.monotonic()
    index = VectorIndex.open(None, settings_of(folder), MODEL)
    opened = time.monotonic()
    # As the follower does: in chunks, so that not all vectors of the queries are copied at once.
    found = np.concatenate([index.search(vectors[at : at + 1024], NEAREST)[0] for at in range(0, NEW, 1024)])
    ended = time.monotonic()
    return {
        "update_seconds": round(opened - began, 2), "search_seconds": round(ended - opened, 2),
        "seconds": round(ended - began, 2), "driver_peak_mb": _peak_mb(), "of_queries_mb": before,
        "found": found[::NEW // CHECKED].tolist(),
    }  # fmt: skip


def _exact(folder: Path, size: int, found: list[list[str]]) -> dict[str, Any]:
    """Recall against an exact search, and its time for as many queries."""
    import faiss

    from organize.features.vectors import STORED
    from organize.index.segment import merge_nearest

    new = new_pictures(size)
    queries = np.ascontiguousarray(new.vectors()[:: NEW // CHECKED])
    best = np.full((len(queries), NEAREST), -2, np.float32), np.zeros((len(queries), NEAREST), np.int64)
    seconds = 0.0
    for first, made in ((0, pictures(size, 2)), (size, new)):
        for offset, vectors in made.batches(_FILE_ROWS):
            stored = vectors.astype(STORED).astype(np.float32)
            began = time.monotonic()
            scores, rows = faiss.knn(queries, stored, NEAREST, faiss.METRIC_INNER_PRODUCT)
            seconds += time.monotonic() - began
            best = merge_nearest(best, (scores, rows + first + offset), NEAREST)
    right = [
        len({image_id(row) for row in exact} & set(own))
        for exact, own in zip(best[1].tolist(), found, strict=True)
    ]
    return {
        "recall_at_10": round(sum(right) / (NEAREST * len(right)), 4),
        "exact_seconds": round(seconds * NEW / len(queries), 1),
    }


def _peak_mb() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
