"""The same work on each picture without Kafka, Spark and Delta: in a loop, and stage by stage."""

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema

from conf.settings import Settings
from lake.pictures import jpeg_codec, pixels
from lake.spark import python_workers
from streaming.contract import envelope
from streaming.contract.producer_record import ProducerRecord
from streaming.contract.rules import Rules
from streaming.isolate import decoder
from streaming.isolate.arrow_batches import ROWS, ConsumerRecord, rows_of
from streaming.isolate.decoder import Decoder
from streaming.upload import push_request
from streaming.upload.push_request import PushRequest
from streaming.verify import quality
from streaming.verify.phash import phash


def records(
    folder: Path, settings: Settings, images: int, label_pattern: str | None = None
) -> list[ConsumerRecord]:
    """Uploads of a folder or archive as they come out of Kafka."""
    order = PushRequest(str(folder), "plain", label_pattern, repeat=images, limit=images)
    return [
        ConsumerRecord("plain", 0, number, None, record.key, record.value, record.headers)
        for number, record in enumerate(push_request.records(order, settings))
        if isinstance(record, ProducerRecord)
    ]


def bare(settings: Settings) -> Rules:
    """The rules with the decoder in this very process."""
    inside = settings.decoding.model_copy(update={"isolated": False})
    return Rules.of(settings.model_copy(update={"decoding": inside}))


def loop(folder: Path, settings: Settings, images: int, processes: int) -> float:
    """Images a second of so many processes that do nothing else."""
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(processes), context.SimpleQueue()
    loops = [
        context.Process(target=_loop, args=(folder, settings, images // processes, barrier, times))
        for _ in range(processes)
    ]
    for each in loops:
        each.start()
    seconds = max(times.get() for _ in loops)
    for each in loops:
        each.join()
    return images // processes * processes / seconds


def _loop(folder: Path, settings: Settings, images: int, barrier: Barrier, times: Any) -> None:
    rules, work = bare(settings), records(folder, settings, images)
    rows_of(work[:8], rules)
    python_workers.freeze_gc()  # as in Spark; without it every collection looks through all the records
    barrier.wait(300)
    begun = time.perf_counter()
    accepted = 0
    for start in range(0, len(work), 64):
        accepted += sum(row["verdict"] == "accepted" for row in rows_of(work[start : start + 64], rules))
    times.put(time.perf_counter() - begun)
    assert accepted == images


def decoding(folder: Path, settings: Settings, images: int) -> float:
    """Images a second of one process that decodes at the scale the hub decodes at, and does no more."""
    contents = [bytes(record.value or b"") for record in records(folder, settings, images)]
    return images / _seconds(lambda content: pixels.decode(content, settings.ingest.longest_side), contents)


def isolation(folder: Path, settings: Settings, images: int) -> float:
    """Time in a decoder process of its own over time in this process, turn and turn about."""
    contents = [record.value or b"" for record in records(folder, settings, images)]
    rules, inside = Rules.of(settings), bare(settings)
    taken = {True: 0.0, False: 0.0}
    with Decoder(rules) as own:
        own.prepare(contents[:8])
        for turn in range(6):
            isolated = bool(turn % 2)
            begun = time.perf_counter()
            outcomes = own.prepare(contents) if isolated else decoder.prepare(contents, inside)
            taken[isolated] += time.perf_counter() - begun
            assert len(outcomes) == images
    return taken[True] / taken[False]


def stages(folder: Path, settings: Settings, images: int) -> dict[str, float]:
    """Microseconds of CPU for each picture, by stage, in this process; JPEG only.

    The sum is less than the whole: what lies between the stages is not in it.
    """
    work, rules = records(folder, settings, images), bare(settings)
    limits = rules.ingest
    contents = [bytes(record.value or b"") for record in work]
    decoded = [_decoded(content, limits.longest_side) for content in contents]
    fitted = [pixels.fit(rgb, limits.longest_side) for rgb in decoded]
    grays = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in fitted]
    pairs = list(zip(fitted, grays, strict=True))
    rows = rows_of(work, rules)
    schema = to_arrow_schema(ROWS, timezone="UTC")
    chunks = [rows[start : start + 512] for start in range(0, len(rows), 512)]
    pa.RecordBatch.from_pylist(rows[:1], schema=schema)  # loads what it needs
    python_workers.freeze_gc()
    timed = {
        "headers": _seconds(lambda record: envelope.parse(record.key, record.headers, rules), work),
        "sha256": _seconds(lambda content: hashlib.sha256(content).hexdigest(), contents),
        "decode": _seconds(lambda content: _decoded(content, limits.longest_side), contents),
        "resize": _seconds(lambda rgb: pixels.fit(rgb, limits.longest_side), decoded),
        "metrics": _seconds(lambda pair: quality.measure(pair[0], pair[1], 4, 3), pairs),
        "phash": _seconds(phash, grays),
        "encode": _seconds(lambda rgb: pixels.jpeg(rgb, limits.jpeg_quality), fitted),
        "thumbnail": _seconds(lambda rgb: pixels.fit(rgb, limits.thumbnail_side), fitted),
        "to Arrow": _seconds(lambda chunk: pa.RecordBatch.from_pylist(chunk, schema=schema), chunks),
    }
    return {name: round(seconds / images * 1e6, 1) for name, seconds in timed.items()}


def _decoded(content: bytes, longest_side: int) -> pixels.RGB:
    size = jpeg_codec.size(content)
    rgb = size and jpeg_codec.decode(content, size, longest_side)
    return pixels.decode(content, longest_side) if rgb is None else rgb


def _seconds(work: Callable[[Any], object], values: Sequence[Any]) -> float:
    begun = time.process_time()
    for value in values:
        work(value)
    return time.process_time() - begun
