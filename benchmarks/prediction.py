"""Benchmark of `hub predict --table` against a plain loop with the same pictures and model.

    make bench-predict

The plain loop is one process on one core that decodes and predicts batches of 64 pictures. It is timed
without its start, before and after the hub. Its rate times the number of cores is the machine's limit. The
hub is timed from reading the first picture to the committed Delta table: `cold` includes the start of Python
workers, the import of TensorFlow and loading the model, `warm` does not.
"""

import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.ground import empty_folder, settings_in
from benchmarks.pictures import Kind, folder_of
from conf.choices import Pixels
from conf.settings import Settings
from jobs.cli.text_table import format_table
from lake.spark import session
from models.architectures import ARCHITECTURES
from models.pictures import inputs
from models.registry import model_cards
from models.registry.model_cards import ModelCard

_CORES = os.cpu_count() or 1
_BATCH = 64
_LABELS = tuple(f"label{number}" for number in range(10))


@dataclass(frozen=True)
class Load:
    """An architecture, its pictures, and how many of them the hub (bulk) and the loop (plain) label."""

    architecture: str
    kind: Kind
    bulk: int
    plain: int


LOADS = (
    Load("resnet20", Kind("64 px", 64, 64, "jpg", 2000), 40_000, 8_000),
    Load("resnet50", Kind("predict 256 px", 256, 192, "jpg", 200), 1_200, 300),
)


@click.command()
@click.option("--only", multiple=True, help="Architecture; may be repeated.")
@click.option(
    "--share", type=float, default=1.0, help="Share of the pictures; a smaller one is faster and less exact."
)
def main(only: tuple[str, ...], share: float) -> None:
    """Measure, print a table, write build/bench/prediction.json."""
    work = empty_folder("prediction")
    folder = work.parent
    settings = settings_in(work)
    loads = [load for load in LOADS if not only or load.architecture in only]
    found = [_measure(settings, load, share, folder, work) for load in loads]
    (folder / "prediction.json").write_text(json.dumps({"loads": found, "cores": _CORES}, indent=1) + "\n")
    columns = ["model", "pictures", "hub warm /s", "hub cold /s", "loop × cores /s", "warm to loop"]
    rows = [
        [each["model"], each["pictures"], each["warm"], each["cold"], each["loop"] * _CORES, each["to_loop"]]
        for each in found
    ]
    click.echo(format_table(columns, rows))


def _measure(settings: Settings, load: Load, share: float, folder: Path, work: Path) -> dict[str, Any]:
    from models.inference.batch_inference import predict_table

    files = sorted(folder_of(load.kind, folder / "pictures", None).rglob("*.jpg"))
    contents = [file.read_bytes() for file in files]
    # A new process each time, because TensorFlow's number of threads cannot be changed later.
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        model_id = pool.apply(_build_model, (settings, load.architecture))
    count, plain = round(load.bulk * share), round(load.plain * share)
    with context.Pool(1) as pool:
        before = pool.apply(_loop_rate, (settings, model_id, contents, plain))
    spark = session.start(settings, "bench predict")
    try:
        source = str(work / f"{load.architecture}.parquet")
        rows = [(f"p{number}", contents[number % len(contents)]) for number in range(count)]
        frame = spark.createDataFrame(rows, "image_id string, jpeg binary")
        frame.repartition(8 * _CORES).write.parquet(source)
        rates = []
        for run in ("cold", "warm"):
            done = predict_table(spark, settings, model_id, source, str(work / f"{model_id}-{run}"))
            assert (done.pictures, done.errors) == (count, 0)
            rates.append(done.pictures / done.seconds)
        cold, warm = rates
    finally:
        spark.stop()
    with context.Pool(1) as pool:
        after = pool.apply(_loop_rate, (settings, model_id, contents, plain))
    loop = (before + after) / 2
    return {
        "model": load.architecture,
        "pictures": count,
        "cold": round(cold, 1),
        "warm": round(warm, 1),
        "loop": round(loop, 1),
        "loops": [round(before, 1), round(after, 1)],
        "to_loop": round(warm / loop / _CORES, 3),
    }


def _build_model(settings: Settings, architecture: str) -> str:
    """Write a model with random weights, which do not change the speed; returns its id."""
    import keras

    from models.formats.export import KERAS
    from models.nets.heads import logits

    model_id = f"{architecture}-20261121-0000-0000"
    built = ARCHITECTURES[architecture].build(logits(len(_LABELS)), Pixels.UNIT)
    model = keras.Model(built.input, keras.layers.Softmax()(built.output))
    path = Path(model_cards.artifact_storage(settings, model_id).root) / KERAS
    path.parent.mkdir(parents=True)
    model.save(path)
    model_cards.write_card(
        settings, ModelCard(model_id, "none", architecture, ARCHITECTURES[architecture].side, _LABELS)
    )
    return model_id


def _loop_rate(settings: Settings, model_id: str, contents: list[bytes], count: int) -> float:
    """Pictures per second of one process with one thread."""
    import keras
    import tensorflow as tf

    from models.formats.export import KERAS

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    card, files = model_cards.ready_card(settings, model_id), model_cards.artifact_storage(settings, model_id)
    model = keras.models.load_model(Path(files.root) / KERAS, compile=False)
    model.predict_on_batch(np.zeros((_BATCH, card.side, card.side, 3), np.float32))  # traces the graph
    labelled, began = 0, time.perf_counter()
    while labelled < count:
        some = [contents[(labelled + number) % len(contents)] for number in range(_BATCH)]
        images = np.stack([inputs.decode_centre_crop(content, card.side) for content in some]).astype(
            np.float32
        )
        answers = np.asarray(model.predict_on_batch(images))
        labelled += len([card.labels[best] for best in answers.argmax(1)])
    return labelled / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
