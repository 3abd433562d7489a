"""Test accuracy with few pictures a label: published weights beside ResNet-20 from scratch.

    python -m benchmarks.transfer --archive cifar10-mini.zip [--run ARCHITECTURE:SIDE:EPOCHS]…

The archive has members `train/LABEL/NAME` and `test/LABEL/NAME`. One worker trains in this process on one
core, with the hub's learner, input and defaults, without Spark. Processor time depends less than the clock on
what else the machine does: five minutes on two cores are 600 s of it. Each run prints one line of JSON.
"""

import json
import os
import time
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from conf import settings as hub
from conf.settings import Settings
from lake.snapshot import Split
from models.architectures import ARCHITECTURES
from models.pictures import epoch_plan, input_pipeline, inputs
from models.plan import TrainingPlan

RUNS = ("efficientnet-lite0:128:24", "mobilenet-v2:128:24", "resnet20:32:200")
BATCH = 50  # pictures of an evaluation


@click.command()
@click.option("--archive", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--run", "runs", multiple=True, default=RUNS, show_default=True)
@click.option("--per-label", type=int, default=100, show_default=True, help="Training pictures of a label.")
@click.option("--seed", type=int, default=7, show_default=True)
def main(archive: Path, runs: tuple[str, ...], per_label: int, seed: int) -> None:
    """Train each run, and print its results."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    settings = hub.load()
    for run in runs:
        architecture, side, epochs = run.split(":")
        plan = TrainingPlan.of(
            settings, "none", 1, architecture=architecture, side=int(side), epochs=int(epochs), seed=seed,
            pretrained=wheel.requirement if (wheel := ARCHITECTURES[architecture].wheel) else None, flip=True,
        )  # fmt: skip
        pictures = {split: _read(archive, split, plan.side, per_label, seed) for split in ("train", "test")}
        print(json.dumps({"run": run, "seed": seed} | train(settings, plan, pictures)), flush=True)


def _read(archive: Path, split: str, side: int, per_label: int, seed: int) -> inputs.Pictures:
    """Decode the pictures of a split: of train some of each label, drawn at random; of test all."""
    with zipfile.ZipFile(archive) as file:
        members = defaultdict(list)
        for name in sorted(file.namelist()):
            parts = name.split("/")
            if len(parts) == 3 and parts[0] == split and parts[2]:
                members[parts[1]].append(name)
        random = np.random.default_rng(seed)
        chosen = [
            (name, label)
            for label, names in enumerate(members.values())
            for name in (random.permutation(names)[:per_label] if split == Split.TRAIN else names)
        ]
        images = [inputs.decode_sample(file.read(name), name, side) for name, _ in chosen]
    labels = np.array([label for _, label in chosen], np.int32)
    return inputs.Pictures(np.stack(images), labels, tuple(name for name, _ in chosen))


def train(settings: Settings, plan: TrainingPlan, pictures: dict[str, inputs.Pictures]) -> dict[str, Any]:
    """Train, and measure accuracy and processor time (seconds), without the evaluations."""
    from models.workers import initial_weights
    from models.workers.learner import Learner

    learnt, test = pictures["train"], pictures["test"]
    names = tuple(map(str, range(int(learnt.labels.max()) + 1)))
    began = time.process_time()
    plan, start = initial_weights.resolve(settings, plan, names)
    schedule = inputs.BatchSchedule.of(len(learnt.labels), 1, plan.batch_size or BATCH)
    learner = Learner(plan, schedule, len(names), start)
    pipeline = input_pipeline.InputPipeline(learnt, plan.side)
    margin = inputs.resized_side(plan.side) - plan.side
    plans = (
        epoch_plan.plan_epoch(
            len(learnt.labels),
            schedule,
            margin,
            epoch_plan.Augmentation.of(plan, True),
            (plan.seed, epoch, 0),
        )
        for epoch in range(1, plan.epochs + 1)
    )
    batches, seconds, of_head = pipeline.batches(plans), 0.0, None
    for epoch in range(1, plan.epochs + 1):
        learner.freeze(epoch <= plan.freeze_epochs)
        total = sum(learner.step(*next(batches)).numpy() for _ in range(schedule.steps))
        if epoch == plan.freeze_epochs:
            seconds += time.process_time() - began
            of_head = _accuracy(learner, test, plan.side)
            began = time.process_time()
    seconds += time.process_time() - began
    return {
        "accuracy": round(_accuracy(learner, test, plan.side), 4),
        "accuracy_of_the_head_alone": of_head and round(of_head, 4),
        "train_accuracy": round(float(total[1]) / (schedule.steps * schedule.batch), 4),
        "cpu_seconds": round(seconds, 1),
        "train_pictures": len(learnt.labels),
        "test_pictures": len(test.labels),
    }


def _accuracy(learner: Any, test: inputs.Pictures, side: int) -> float:
    learner.update_export_model()
    right = 0.0
    for images, labels, weights in inputs.evaluation_batches(test, side, BATCH):
        found = learner.export_model.predict_on_batch(images.astype(np.float32)).argmax(1)
        right += float(((found == labels) * weights).sum())
    return right / len(test.labels)


if __name__ == "__main__":
    main()
