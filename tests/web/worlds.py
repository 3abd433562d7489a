"""A small lake for tests of pages, written without Spark: pictures in colours, verified as uploads are, with
labels below each other, near duplicates, doubts, batches, rejected uploads, datasets, and models."""

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from conf.settings import Settings
from lake.snapshot import Split
from lake.table import Table
from models.evaluation import artifacts
from models.evaluation.metrics import evaluate
from models.messages import EpochEnded
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State
from streaming.contract.rules import Rules
from streaming.verify.preprocess import prepare
from tests.support import tiny
from tests.web import lakes

LABELS = ("cat", "dog", "frog", "car", "truck")
START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
_PLACES = ("u33db", "u33dc", "u281z", "gcpvj", "9q8yy", "xn76u", "r3gx2", "s17mx")


def picture(number: int, side: int = 200) -> bytes:
    """A JPEG that looks different for each number: shapes in the colour of its label."""
    random = np.random.default_rng(number)
    hue = 60 * (number % len(LABELS)) + int(random.integers(0, 25))
    image = Image.new("HSV", (side, side * 3 // 4), (hue * 255 // 360, 70, 225))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, size = (int(value) for value in random.integers(0, side, 3))
        colour = (hue * 255 // 360, int(random.integers(60, 240)), int(random.integers(40, 250)))
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape((x, y, x + size // 3, y + size // 4), fill=colour)
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


def build(settings: Settings, pictures: int = 120) -> None:
    """Write the lake: tables, one dataset snapshot, a ready and a failed model."""
    rules = Rules.of(settings)
    uploads = [_upload(number, rules) for number in range(pictures)]
    lakes.append(settings, Table.UPLOADS, [*uploads, *_rejected(pictures)])
    lakes.append(settings, Table.SAMPLES, _samples(uploads))
    lakes.append(settings, Table.LABELS, _labels(uploads))
    names = ["dataset-one", "dataset-two"]
    for name, part in zip(names, (uploads[: pictures * 3 // 4], uploads), strict=True):
        _dataset(settings, name, part)
    _model(settings, "resnet20-ready", "dataset-one", uploads, State.READY)
    _model(settings, "resnet20-second", "dataset-two", uploads, State.READY, epochs=12)
    _model(settings, "resnet20-failed", "dataset-two", uploads, State.FAILED, "worker 1 ran out of memory")


def _upload(number: int, rules: Rules) -> dict[str, Any]:
    content = picture(number)
    made = prepare(content, rules)
    label = LABELS[number % len(LABELS)]
    time = START + timedelta(minutes=13 * number)
    return lakes.upload_row(
        number, label=label, label_name=label, image_id=hashlib.sha256(content).hexdigest(),
        jpeg=made.jpeg, thumbnail=made.thumbnail, flags=list(made.flags), phash=made.phash,
        metrics=made.metrics._asdict(), width=made.width, height=made.height, bytes=len(content),
        batch=f"walk-{number % 3 + 1}", geohash=_PLACES[number * number % len(_PLACES)],
        event_time=time, kafka_time=time, ingest_time=time,
    )  # fmt: skip


def _rejected(first: int) -> Iterator[dict[str, Any]]:
    reasons = ("truncated", "too_small", "bad_label", "unsupported_format", "truncated", "undecodable")
    for number, reason in enumerate(reasons):
        payload = picture(number)[:3000] if reason == "truncated" else b"<script>alert(1)</script>" * 9
        time = START + timedelta(minutes=40 * number)
        detail = "<b>no markup of uploads</b>" if reason == "bad_label" else f"because of {reason}"
        yield lakes.rejected_row(
            first + number, reason, payload, detail=detail, batch=f"walk-{number % 2 + 1}", event_time=time,
            kafka_time=time, ingest_time=time,
        )  # fmt: skip


def _samples(uploads: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    splits = [Split.TRAIN] * 7 + [Split.VALIDATION, Split.TEST, Split.TEST]
    same = ("image_id", "label", "flags", "phash", "upload_id", "device", "user", "batch", "event_time")
    for number, upload in enumerate(uploads):
        doubtful = number % 11 == 3
        other = LABELS[(number + 1) % len(LABELS)]
        first = number - number % 50  # three cats of each fifty pictures are near duplicates
        group = f"g-{uploads[first]['image_id'][:12]}" if number - first in (0, 5, 10) else None
        yield {name: upload[name] for name in same} | {
            "label_source": "claimed",
            "label_quality": 0.12 if doubtful else 0.9,
            "suggested_label": other if doubtful else None,
            "label_reason": f"a probe of embeddings: {other} 81%" if doubtful else None,
            "duplicate_group": group,
            "cluster": f"{upload['label']}-{number % 2}",
            "split": splits[number // len(LABELS) % len(splits)].value,
        }


def _labels(uploads: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for label in LABELS:
        accepted = sum(upload["label"] == label for upload in uploads)
        parent = "vehicle" if label in ("car", "truck") else "animal"
        yield {"label": label, "parent": parent, "display_name": label.title(), "accepted": accepted,
               "ready": accepted >= 100}  # fmt: skip


def _parts(uploads: list[dict[str, Any]]) -> dict[Split, list[tuple[str, int, bytes]]]:
    rows = [(row["image_id"], LABELS.index(row["label"]), row["jpeg"]) for row in uploads]
    tenth = len(rows) // 10
    return {
        Split.TRAIN: rows[: -3 * tenth],
        Split.VALIDATION: rows[-3 * tenth : -2 * tenth],
        Split.TEST: rows[-2 * tenth :],
    }


def _dataset(settings: Settings, dataset_id: str, uploads: list[dict[str, Any]]) -> None:
    parts = _parts(uploads)
    snapshot = tiny.write_snapshot(settings, dataset_id, LABELS, parts)
    row = {
        "dataset_id": dataset_id, "filter": '{"labels": ["cat"]}', "seed": 7,
        "table_versions": {"samples": 0},
        "labels": list(LABELS), "counts": {split.value: len(rows) for split, rows in parts.items()},
        "path": snapshot.storage.root, "manifest_sha256": snapshot.sha256(),
        "created": START + timedelta(days=1, minutes=len(uploads)),
    }  # fmt: skip
    lakes.append(settings, Table.DATASETS, [row])


def _model(
    settings: Settings, model_id: str, dataset_id: str, uploads: list[dict[str, Any]], state: State,
    detail: str = "", epochs: int = 8,
) -> None:  # fmt: skip
    created = START + timedelta(days=2, minutes=epochs)
    card = ModelCard(
        model_id=model_id, dataset_id=dataset_id, architecture="resnet20", side=32, labels=LABELS,
        state=state, detail=detail, created=created.isoformat(), workers=2,
        plan={"epochs": epochs, "seed": 1},
    )  # fmt: skip
    files = model_cards.artifact_storage(settings, model_id)
    metrics: dict[str, float] = {}
    if state is State.READY:
        metrics = _results(settings, model_id, uploads, epochs)
        files.write(artifacts.LABELS, "".join(f"{label}\n" for label in LABELS).encode())
        files.write("model.tflite", b"TFL3 of tests")
        files.write("model.keras", b"keras of tests")
        files.write("saved_model/saved_model.pb", b"saved model of tests")
    model_cards.write_card(settings, card)
    row = {
        "model_id": model_id, "dataset_id": dataset_id, "architecture": "resnet20", "settings": "{}",
        "workers": 2, "metrics": metrics, "path": files.root, "state": state.value, "detail": detail,
        "created": created, "finished": created + timedelta(minutes=3), "seconds": 182.0,
    }  # fmt: skip
    lakes.append(settings, Table.MODELS, [row])


def _results(
    settings: Settings, model_id: str, uploads: list[dict[str, Any]], epochs: int
) -> dict[str, float]:
    """Results of a model that errs in every seventh picture."""
    files = model_cards.artifact_storage(settings, model_id)
    true = np.array([LABELS.index(row["label"]) for row in uploads], np.int32)
    wrong = np.arange(len(true)) % 7 == 2
    predicted = np.where(wrong, (true + 1 + np.arange(len(true)) % 2) % len(LABELS), true).astype(np.int32)
    probabilities = np.where(wrong, 0.55, 0.9) + np.arange(len(true)) % 9 / 100
    ranks = wrong.astype(np.int32)
    found = evaluate(LABELS, [row["image_id"] for row in uploads], true, predicted, probabilities, ranks)
    files.write_json(artifacts.EVALUATION, artifacts.report(found))
    history = [
        EpochEnded(0, n, 1.6 / n + 0.2, 1 - 0.7 / n, 1.7 / n + 0.3, 1 - 0.8 / n, 0.1, 4.2, 900.0)
        for n in range(1, epochs + 1)
    ]
    artifacts.write_history(files, history)
    summary = artifacts.summary_metrics(found, "labels")
    metrics = {name: value for name, value in summary.items() if value is not None}
    files.write_json(artifacts.METRICS, metrics)
    return metrics
