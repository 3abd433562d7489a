"""A plain Keras script on the same pictures: `python -m benchmarks.gpu.plain JSON`, as `worker`.

Network, batch, precision, crops and optimizer are the hub's; input, loop and normalization are Keras' and
tf.data's. It prints one line of JSON.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.loads import snapshot_of
from benchmarks.gpu.worker import UNCOUNTED, Order, plan_of
from conf.choices import Pixels
from lake.snapshot import Split
from models.architectures import ARCHITECTURES


def measure(order: Order) -> dict[str, float]:
    """Train by `fit`, and return images per second and seconds to the first step."""
    began = time.monotonic()
    load = order.load
    snapshot = snapshot_of(load, Path(order.folder), order.small)
    from models.workers.tensorflow_setup import configure

    configure(plan_of(order), order.cores)
    import keras

    from models.nets.heads import logits
    from models.nets.precision import has_tensor_cores
    from models.pictures.inputs import RowRange, read_pictures

    keras.config.set_dtype_policy("mixed_float16" if has_tensor_cores() else "float32")
    rows = snapshot.row_count(Split.TRAIN)
    pictures = read_pictures(snapshot, Split.TRAIN, RowRange(0, rows), load.side)
    model = ARCHITECTURES[load.architecture].build(logits(len(snapshot.labels)), Pixels.UNIT, load.side)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=order.jit == "on",
    )
    times: dict[str, float] = {}
    epochs: list[float] = []
    timer = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: times.update(began=time.monotonic()),
        on_train_batch_end=lambda batch, logs: times.setdefault("first", time.monotonic() - began),
        # `fit` reads its figures at the end of an epoch, which waits for all steps.
        on_epoch_end=lambda epoch, logs: epochs.append(time.monotonic() - times["began"]),
    )
    batches = _batches(pictures.images, pictures.labels, load.side, load.batch)
    model.fit(batches, epochs=order.epochs, verbose=0, callbacks=[timer])
    counted = epochs[UNCOUNTED:] or epochs
    steps = rows // load.batch
    return {
        "images_per_second": steps * load.batch * len(counted) / sum(counted),
        "seconds_to_first_step": times["first"],
    }


def _batches(images: Any, labels: Any, side: int, batch: int) -> Any:
    """Shuffled random crops, mirrored at random, as a tf.data tutorial does it."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        all_images, all_labels = tf.constant(images), tf.constant(labels)

    def augmented(row: Any) -> tuple[Any, Any]:
        image = tf.image.random_crop(all_images[row], (side, side, 3))
        return tf.image.random_flip_left_right(image), all_labels[row]

    data = tf.data.Dataset.from_tensor_slices(np.arange(len(labels))).shuffle(len(labels))
    data = data.map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return data.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    print(json.dumps(measure(Order.read(sys.argv[1]))))
