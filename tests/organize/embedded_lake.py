"""A lake with samples and their embeddings, made of numbers: no pictures, no network."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import row_writer, tables
from lake.table import Table
from organize.chunk import Chunk, SampleChanges
from organize.features.vectors import STORED

MODEL = "efficientnet-lite0-128"


def image_id(number: int) -> str:
    """An id like those of real images, in another order than the numbers."""
    return hashlib.sha256(f"image {number}".encode()).hexdigest()


def blobs(truth: Sequence[int], spread: float = 0.6, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of length 1 around a centre for each number, float32 (rows, 64)."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(max(truth) + 1, 64))
    vectors = centres[list(truth)] + spread * random.normal(size=(len(truth), 64))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def chunk_of(spark: SparkSession, settings: Settings, ids: Sequence[str]) -> Chunk:
    """The chunk of some of these samples, for a stage."""
    listed = f"image_id IN ({row_writer.literal(*ids)})"
    samples = {
        row["image_id"]: row
        for row in row_writer.read(settings, Table.SAMPLES, ["image_id", "label", "flags"], listed)
    }
    rows = [
        row | samples[row["image_id"]]
        for row in row_writer.read(settings, Table.EMBEDDINGS, ["image_id", "vector"], listed)
    ]
    columns = [("image_id", pa.string()), ("label", pa.string()), ("flags", pa.list_(pa.string()))]
    schema = pa.schema([*columns, ("vector", pa.binary())])
    images = pa.Table.from_pylist(rows, schema=schema)
    return Chunk(spark, settings, MODEL, images, SampleChanges(settings))


def fill(
    spark: SparkSession,
    settings: Settings,
    labels: Sequence[str],
    vectors: NDArray[np.float32],
    first: int = 0,
    model_id: str = MODEL,
) -> list[str]:
    """Add samples with these labels and vectors; returns their image ids."""
    tables.create(spark, settings.lake)
    ids = [image_id(first + number) for number in range(len(labels))]
    samples = [
        {
            "image_id": each,
            "label": label,
            "label_source": "claimed",
            "flags": [],
            "upload_id": f"u-{each[:8]}",
        }
        for each, label in zip(ids, labels, strict=True)
    ]
    row_writer.append(settings, Table.SAMPLES, *samples)
    embedded = [
        {"image_id": each, "model_id": model_id, "vector": vector.astype(STORED).tobytes()}
        for each, vector in zip(ids, vectors, strict=True)
    ]
    row_writer.append(settings, Table.EMBEDDINGS, *embedded)
    return ids
