"""Baseline: a plain Keras training script on one core, on the Parquet files of a dataset snapshot.

    python -m benchmarks.script SNAPSHOT ARCHITECTURE BATCH EPOCHS [--seed N] [--measured]

It reads the snapshot's shards into memory, crops and mirrors in tf.data, and calls `fit`. The network is the
hub's, so that the arithmetic is the same; training loop, input and batch normalization are Keras'. It prints
one line of JSON: images per second of the epochs after the first and, with --measured, accuracies.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("snapshot", type=click.Path(exists=True, path_type=Path))
@click.argument("architecture")
@click.argument("batch", type=int)
@click.argument("epochs", type=int)
@click.option("--seed", type=int, default=0)
@click.option("--learning-rate", type=float, default=0.1, help="For a batch of 128.")
@click.option("--weight-decay", type=float, default=1e-4)
@click.option("--warmup-epochs", type=float, default=2.0)
@click.option("--label-smoothing", type=float, default=0.0)
@click.option("--flip/--no-flip", default=True)
@click.option("--measured", is_flag=True, help="Also validate after each epoch, and test at the end.")
@click.option(
    "--backup", type=click.Path(path_type=Path), help="Folder for backups, to resume an interrupted run."
)
def main(
    snapshot: Path, architecture: str, batch: int, epochs: int, seed: int, learning_rate: float,
    weight_decay: float, warmup_epochs: float, label_smoothing: float, flip: bool, measured: bool,
    backup: Path | None,
) -> None:  # fmt: skip
    """Train, and print the results."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(seed)
    from conf.choices import Pixels
    from models.architectures import ARCHITECTURES
    from models.nets.heads import logits

    manifest = json.loads((snapshot / "manifest.json").read_text())
    side = ARCHITECTURES[architecture].side
    train = _batches(snapshot, manifest, "train", side, batch, flip)
    model = ARCHITECTURES[architecture].build(logits(len(manifest["labels"])), Pixels.UNIT)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            layer.kernel_regularizer = keras.regularizers.L2(
                weight_decay / 2
            )  # its gradient is the weight decay
    steps = len(train)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate * batch / 128 / 100, max(1, epochs * steps),
        warmup_target=learning_rate * batch / 128, warmup_steps=round(min(warmup_epochs, epochs / 2) * steps),
    )  # fmt: skip
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9),
        _loss(len(manifest["labels"]), label_smoothing),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=False,
    )
    timer = _EpochTimer(steps * batch)
    validation = _batches(snapshot, manifest, "validation", side, batch, None) if measured else None
    callbacks = [timer.callback(), *([keras.callbacks.BackupAndRestore(backup)] if backup else [])]
    model.fit(train, epochs=epochs, verbose=0, callbacks=callbacks, validation_data=validation)
    seconds = epochs * steps * batch / timer.rate  # of all epochs, including those before an interruption
    results: dict[str, Any] = {"images_per_second": timer.rate, "seconds": seconds}
    if measured:
        test = _batches(snapshot, manifest, "test", side, batch, None)
        results["test_accuracy"] = float(model.evaluate(test, verbose=0)[1])
    click.echo(json.dumps(results))


def _loss(classes: int, smoothing: float) -> Any:
    """Cross entropy of logits; Keras has label smoothing for one-hot labels only."""
    import keras

    if not smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def smoothed(labels: Any, logits: Any) -> Any:
        targets = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), classes)
        return keras.losses.categorical_crossentropy(
            targets, logits, from_logits=True, label_smoothing=smoothing
        )

    return smoothed


def _batches(
    snapshot: Path, manifest: dict[str, Any], split: str, side: int, batch: int, flip: bool | None
) -> Any:
    """Pictures (uint8) and labels of a split; random crops, or centre crops if `flip` is None."""
    import numpy as np
    import pyarrow.parquet as pq
    import tensorflow as tf

    stored_side = side * 9 // 8
    tables = [pq.read_table(snapshot / shard["path"]) for shard in manifest["shards"][split]]
    files = [content for table in tables for content in table["jpeg"].to_pylist()]
    labels = np.concatenate([table["label"].to_numpy() for table in tables])
    images = np.stack([_decoded(content, stored_side) for content in files])
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    if flip is None:
        edge = (stored_side - side) // 2
        data = data.map(lambda image, label: (image[edge : edge + side, edge : edge + side], label))
        return data.batch(batch).prefetch(1)

    def augmented(image: Any, label: Any) -> tuple[Any, Any]:
        image = tf.image.random_crop(image, (side, side, 3))
        return (tf.image.random_flip_left_right(image) if flip else image), label

    return data.shuffle(len(files)).map(augmented).batch(batch, drop_remainder=True).prefetch(1)


def _decoded(content: bytes, side: int) -> Any:
    import cv2
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


class _EpochTimer:
    """Measures the steps of each epoch; the first epoch compiles and is not counted."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._epochs: list[float] = []

    def callback(self) -> Any:
        """The callback for `fit`."""
        import keras

        times = {"began": 0.0, "stepped": 0.0}
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: times.update(began=time.monotonic()),
            on_train_batch_end=lambda batch, logs: times.update(stepped=time.monotonic()),
            on_epoch_end=lambda epoch, logs: self._epochs.append(times["stepped"] - times["began"]),
        )

    @property
    def rate(self) -> float:
        """Images per second in the steps of the counted epochs."""
        counted = self._epochs[1:] or self._epochs
        return self._images * len(counted) / sum(counted)


if __name__ == "__main__":
    main()
