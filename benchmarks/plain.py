"""Baseline: the same work on each picture without Kafka, Spark and Delta, in a loop and stage by stage."""

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
from streaming.isolate.arrow_batches import ROW_SCHEMA, ConsumerRecord, ledger_rows
from streaming.isolate.decoder import Decoder
from streaming.upload import push_request
from streaming.upload.push_request import PushRequest
from streaming.verify import quality
from streaming.verify.phash import phash


def kafka_records(
    folder: Path, settings: Settings, images: int, label_pattern: str | None = None
) -> list[ConsumerRecord]:
    """Uploads of a folder or archive as records from Kafka."""
    request = PushRequest(str(folder), "plain", label_pattern, repeat=images, limit=images)
    return [
        ConsumerRecord("plain", 0, number, None, record.key, record.value, record.headers)
        for number, record in enumerate(push_request.records(request, settings))
        if isinstance(record, ProducerRecord)
    ]


def in_process_rules(settings: Settings) -> Rules:
    """The rules without a decoder process."""
    inside = settings.decoding.model_copy(update={"isolated": False})
    return Rules.of(settings.model_copy(update={"decoding": inside}))


def loop_rate(folder: Path, settings: Settings, images: int, processes: int) -> float:
    """Images per second of the plain loop, in a number of processes."""
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
    rules, work = in_process_rules(settings), kafka_records(folder, settings, images)
    ledger_rows(work[:8], rules)
    python_workers.freeze_gc()  # as in Spark; otherwise each collection traverses all the records
    barrier.wait(300)
    begun = time.perf_counter()
    accepted = 0
    for start in range(0, len(work), 64):
        accepted += sum(row["verdict"] == "accepted" for row in ledger_rows(work[start : start + 64], rules))
    times.put(time.perf_counter() - begun)
    assert accepted == images


def decoding_rate(folder: Path, settings: Settings, images: int) -> float:
    """Images per second of one process that only decodes, at the scale that the hub decodes at."""
    contents = [bytes(record.value or b"") for record in kafka_records(folder, settings, images)]
    return images / _seconds(lambda content: pixels.decode(content, settings.ingest.longest_side), contents)


def isolation_ratio(folder: Path, settings: Settings, images: int) -> float:
    """Time in a decoder process over time in this process, in alternating rounds."""
    contents = [record.value or b"" for record in kafka_records(folder, settings, images)]
    rules, in_process = Rules.of(settings), in_process_rules(settings)
    seconds = {True: 0.0, False: 0.0}
    with Decoder(rules) as own:
        own.prepare(contents[:8])
        for turn in range(6):
            isolated = bool(turn % 2)
            begun = time.perf_counter()
            outcomes = own.prepare(contents) if isolated else decoder.prepare(contents, in_process)
            seconds[isolated] += time.perf_counter() - begun
            assert len(outcomes) == images
    return seconds[True] / seconds[False]


def stage_times(folder: Path, settings: Settings, images: int) -> dict[str, float]:
    """CPU microseconds per picture and stage, in this process; JPEG only.

    The sum is less than the total, because code between the stages is not measured.
    """
    work, rules = kafka_records(folder, settings, images), in_process_rules(settings)
    limits = rules.ingest
    contents = [bytes(record.value or b"") for record in work]
    decoded = [_decoded(content, limits.longest_side) for content in contents]
    fitted = [pixels.fit(rgb, limits.longest_side) for rgb in decoded]
    grays = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in fitted]
    pairs = list(zip(fitted, grays, strict=True))
    rows = ledger_rows(work, rules)
    schema = to_arrow_schema(ROW_SCHEMA, timezone="UTC")
    chunks = [rows[start : start + 512] for start in range(0, len(rows), 512)]
    pa.RecordBatch.from_pylist(rows[:1], schema=schema)  # imports what it needs
    python_workers.freeze_gc()
    timed = {
        "headers": _seconds(lambda record: envelope.parse(record.key, record.headers, rules), work),
        "sha256": _seconds(lambda content: hashlib.sha256(content).hexdigest(), contents),
        "decode": _seconds(lambda content: _decoded(content, limits.longest_side), contents),
        "resize": _seconds(lambda rgb: pixels.fit(rgb, limits.longest_side), decoded),
        "metrics": _seconds(lambda pair: quality.measure(pair[0], pair[1], 4, 3), pairs),
        "phash": _seconds(phash, grays),
        "encode": _seconds(lambda rgb: pixels.encode_jpeg(rgb, limits.jpeg_quality), fitted),
        "thumbnail": _seconds(lambda rgb: pixels.fit(rgb, limits.thumbnail_side), fitted),
        "to Arrow": _seconds(lambda chunk: pa.RecordBatch.from_pylist(chunk, schema=schema), chunks),
    }
    return {name: round(seconds / images * 1e6, 1) for name, seconds in timed.items()}


def _decoded(content: bytes, longest_side: int) -> pixels.RGB:
    headers = jpeg_codec.read_headers(content)
    rgb = jpeg_codec.decode(content, headers, longest_side) if headers.is_common else None
    return pixels.decode(content, longest_side) if rgb is None else rgb


def _seconds(work: Callable[[Any], object], values: Sequence[Any]) -> float:
    begun = time.process_time()
    for value in values:
        work(value)
    return time.process_time() - begun
