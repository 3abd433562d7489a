"""Labels for the pictures of a whole table, on Spark."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

from conf.errors import UsageError
from conf.settings import Settings
from lake import tables
from lake.errors import StorageError
from lake.schemas import Table
from lake.spark.session_properties import NO_CODEGEN, arrow, properties
from models.inference.prediction import BATCH, label, load_in_task
from models.registry import model_cards

PICTURES = ("jpeg", "image", "content", "picture", "bytes", "data")  # columns looked for
NAMES = ("image_id", "id", "path", "name")  # likewise; `path` and `content` are what Spark's binaryFile gives
NAMED = {Table.UPLOADS: "every accepted upload", Table.SAMPLES: "every image once"}
ARROW_BYTES = 32 * 2**20  # of a batch that a Python worker is handed

RESULT = "image_id string, label string, probability double, error string, model_id string"
_ARROW = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("error", pa.string()),
        ("model_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class BatchInference:
    """What came of labelling a table.

    Args:
        target: table that was written.
        pictures: labelled.
        errors: pictures that could not be read; their rows have an error and no label.
        loads: times that a Python worker loaded the model.
        seconds: from reading the first picture to the committed table, Python workers' starts included.
    """

    target: str
    pictures: int
    errors: int
    loads: int
    seconds: float


def predict_table(
    spark: SparkSession,
    settings: Settings,
    model_id: str,
    source: str,
    target: str = "",
    replace: bool = False,
) -> BatchInference:
    """Label every picture of a table and write a table of the answers, whole or not at all.

    Args:
        spark: session to use.
        settings: of the hub.
        model_id: of the model.
        source: `uploads`, `samples`, or path or URI of a Delta or Parquet table with a column of pictures.
        target: path or URI; Delta, or Parquet if it ends in .parquet; empty for one below the lake's root.
        replace: a table that is there; otherwise it is refused.

    Raises:
        UnknownModel, UnusableModel: there is none of this id, or it is not ready.
        UsageError: the table is not there or has no pictures, or the target is there already.
        StorageError: the target cannot be written.
    """
    card, files = model_cards.card_for_labels(settings, model_id), model_cards.artifacts(settings, model_id)
    target = _uri(target or settings.lake.at("predictions", model_id))
    rows = _spread(spark, pictures_of(spark, settings, source))
    _refuse_existing(spark, target, replace)
    loads, counts, began = spark.sparkContext.accumulator(0), Observation(), time.monotonic()

    def labelled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model = load_in_task(card, files, loads)
        for batch in batches:
            names = batch["name"].to_pylist()
            found = list(label(model, names, [_content(batch["picture"], row) for row in range(len(batch))]))
            columns = [names, [p.label for p in found], [p.probability for p in found]]
            columns += [[p.error for p in found], [card.model_id] * len(found)]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _ARROW, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=_ARROW)

    answers = rows.mapInArrow(labelled, RESULT)
    counted = answers.observe(counts, f.count(f.lit(1)).alias("pictures"), f.count("error").alias("errors"))
    shape = "parquet" if target.endswith(".parquet") else "delta"
    # A batch must not hold more pictures than a worker has memory for.
    with properties(spark, NO_CODEGEN | arrow(BATCH, ARROW_BYTES)):
        try:
            counted.write.format(shape).mode("overwrite" if replace else "errorifexists").save(target)
        except (PySparkException, Py4JJavaError) as error:
            raise StorageError(f"cannot label {source} into {target}: {tables.first_line(error)}") from None
    found = counts.get
    return BatchInference(target, found["pictures"], found["errors"], loads.value, time.monotonic() - began)


def _content(column: pa.Array, row: int) -> Callable[[], bytes]:
    def read() -> bytes:
        content: bytes | None = column[row].as_py()
        if content is None:
            raise ValueError("there is none")
        return content

    return read


def pictures_of(spark: SparkSession, settings: Settings, source: str) -> DataFrame:
    """The pictures of a table: columns `name` (string) and `picture` (binary).

    Raises:
        UsageError: the table is not there or has no such columns.
    """
    if source in NAMED:
        return _of_lake(spark, settings, Table(source))
    place = _uri(source)
    try:
        if DeltaTable.isDeltaTable(spark, place):
            found = spark.read.format("delta").load(place)
        else:
            found = spark.read.parquet(place)
    except (PySparkException, Py4JJavaError) as error:
        named = ", ".join(NAMED)
        raise UsageError(
            f"--table {source} is none of {named}, nor a Delta or Parquet table: {tables.first_line(error)}"
        ) from None
    picture = _column(found, source, PICTURES, t.BinaryType())
    name = _column(found, source, NAMES, t.StringType())
    return found.select(f.col(name).alias("name"), f.col(picture).alias("picture"))


def _of_lake(spark: SparkSession, settings: Settings, table: Table) -> DataFrame:
    if not tables.exists(spark, settings.lake, Table.UPLOADS):
        raise UsageError(f"--table {table}: no tables in {settings.lake.root}: run `hub ingest` first")
    uploads = tables.read(spark, settings.lake, Table.UPLOADS).where("verdict = 'accepted'")
    if table is Table.SAMPLES:
        keys = tables.read(spark, settings.lake, Table.SAMPLES).select("image_id", "upload_id")
        uploads = uploads.join(f.broadcast(keys), ["image_id", "upload_id"])  # pixels stay where they are
    return uploads.select(f.col("image_id").alias("name"), f.col("jpeg").alias("picture"))


def _column(found: DataFrame, source: str, names: tuple[str, ...], kind: t.DataType) -> str:
    for name in names:
        if name in found.columns and found.schema[name].dataType == kind:
            return name
    wanted = f"{kind.simpleString()} column named {', '.join(names[:-1])} or {names[-1]}"
    raise UsageError(f"--table {source} has no {wanted}; it has {', '.join(found.columns[:20])}")


def _spread(spark: SparkSession, rows: DataFrame) -> DataFrame:
    """Rows in tasks for every core: small parts of files, or dealt anew where there are few files."""
    cores = spark.sparkContext.defaultParallelism
    # A Parquet file is not divided within a row group, so one file may be one task.
    return rows.repartition(4 * cores) if len(rows.inputFiles()) < 2 * cores else rows


def _refuse_existing(spark: SparkSession, target: str, replace: bool) -> None:
    path = spark._jvm.org.apache.hadoop.fs.Path(target)  # type: ignore[union-attr]
    try:
        there = path.getFileSystem(spark._jsc.hadoopConfiguration()).exists(path)
    except Py4JJavaError as error:
        raise StorageError(f"cannot write {target}: {tables.first_line(error)}") from None
    if there and not replace:
        raise UsageError(f"{target} is there already: --replace writes it anew, --to names another")


def _uri(place: str) -> str:
    """As Spark wants it."""
    if place.startswith("s3://"):
        return place.replace("s3://", "s3a://", 1)
    return place if "://" in place else os.path.abspath(place)  # noqa: PTH100 - a path may not be there yet
