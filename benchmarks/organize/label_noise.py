"""Wrong labels: does the check find them, and does training gain from the review?

    python -m benchmarks.organize.label_noise --archive cifar10-mini.zip

The archive has members `train/LABEL/NAME` and `test/LABEL/NAME`. For each seed a tenth of the training labels
is changed at random. The first tier of the label check judges them. A review looks at the tenth of the
pictures that are doubted most. Then a model is trained on the labels as they are, without the reviewed ones
that were wrong, with these corrected, and on the true labels. It is tested on the test pictures, whose labels
stay.

The model is a linear head on EfficientNet-Lite0's features (`--network head`), which is trained in seconds,
or a network that the hub trains from scratch (`--network resnet20`). Each seed prints one line of JSON, the
last line has the mean gains with their 95 % intervals (Student's t, paired by seed).
"""

import json
import math
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from conf import settings as hub
from conf.sections import Lake
from conf.settings import Settings
from models.pictures import inputs
from models.plan import TrainingPlan
from organize.features import network_file
from organize.features.embedder import embedder_of
from organize.features.network import Network
from organize.labels import judgement
from organize.labels.judgement import Judgement
from organize.labels.probe import Floats, Probe, Projection

FLIPPED = 0.1  # share of the training labels that are changed, and share that is reviewed
CHECKED = 50_000  # rows of the timed check
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures with their vectors, float32 (rows, numbers) of length 1, and true labels."""

    names: tuple[str, ...]
    contents: tuple[bytes, ...]
    vectors: Floats
    labels: Labels


Accuracy = Callable[[Pictures, Labels, Pictures, int], float]  # train, its labels, test, seed


@click.command()
@click.option("--archive", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--network", default="head", show_default=True, help="head, or an architecture of the hub.")
@click.option("--epochs", type=int, default=8, show_default=True, help="Of a network; the head needs none.")
@click.option("--seeds", type=int, default=3, show_default=True)
@click.option("--pictures", type=int, help="Train with so many. Default: all.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of what is done, to go on from there.")
@click.option("--skip-timing", is_flag=True, help="Do not time the check of 50,000 vectors.")
def main(
    archive: Path,
    network: str,
    epochs: int,
    seeds: int,
    pictures: int | None,
    state: Path | None,
    skip_timing: bool,
) -> None:
    """Measure, and print lines of JSON."""
    settings = hub.load()
    with tempfile.TemporaryDirectory() as folder:
        own = settings.model_copy(update={"lake": Lake(root=f"{folder}/lake")})
        place = state or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        train, test = (_read(own, archive, split, place) for split in ("train", "test"))
    accuracy: Accuracy = _head if network == "head" else _network(settings, network, epochs)
    if pictures is not None:
        train = _chosen(train, np.random.default_rng(0).permutation(len(train.labels)) < pictures)
    done = Done(place / f"{network}-{epochs}-{len(train.labels)}.json" if state else None)
    rows = []
    for seed in range(1, seeds + 1):
        rows.append(_of_seed(settings, train, test, accuracy, seed, done))
        print(
            json.dumps({"network": network, "pictures": len(train.labels), "seed": seed} | rows[-1]),
            flush=True,
        )
    gains = {
        arm: _interval([row["accuracy"][arm] - row["accuracy"]["as they are"] for row in rows])
        for arm in ("wrong ones dropped", "corrected", "true labels")
    }
    print(json.dumps({"network": network, "seeds": seeds, "gain": gains}), flush=True)
    if not skip_timing:
        print(json.dumps(_timing(train, settings)), flush=True)


@dataclass
class Done:
    """Accuracies that were measured before, in a file; without one nothing is remembered."""

    file: Path | None

    def get_or_measure(self, key: str, measure: Callable[[], float]) -> float:
        """The accuracy of a key."""
        known = json.loads(self.file.read_text()) if self.file and self.file.exists() else {}
        if key not in known:
            known[key] = measure()
            if self.file:
                self.file.write_text(json.dumps(known, indent=1))
        return float(known[key])


def _read(settings: Settings, archive: Path, split: str, state: Path) -> Pictures:
    """Read and embed the pictures of a split, on one core."""
    with zipfile.ZipFile(archive) as source:
        members = sorted(
            name for name in source.namelist() if name.startswith(f"{split}/") and name[-1] != "/"
        )
        contents = tuple(source.read(name) for name in members)
    kept = state / f"{split}.npy"
    if not kept.exists():
        embedder = embedder_of(settings)
        network = Network(network_file.get_or_create(settings, embedder).read(), embedder.side)
        embedded = network.embed_encoded(contents)
        np.save(kept, np.stack([each for each in embedded if each is not None]))
    labels = np.unique([name.split("/")[1] for name in members], return_inverse=True)[1]
    return Pictures(tuple(members), contents, np.load(kept), labels)


def _of_seed(
    settings: Settings, train: Pictures, test: Pictures, accuracy: Accuracy, seed: int, done: Done
) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    rows, count = len(train.labels), int(train.labels.max()) + 1
    flipped = random.permutation(rows) < FLIPPED * rows
    labels = np.where(flipped, (train.labels + random.integers(1, count, rows)) % count, train.labels)
    began = time.monotonic()
    judged = judgement.judge(
        train.vectors, labels, np.array(train.names), count, settings.checks.folds, settings.organize.seed
    )
    seconds = time.monotonic() - began
    reviewed = np.argsort(judged.quality)[: int(FLIPPED * rows)]
    found = np.zeros(rows, bool)
    found[reviewed] = True
    found &= flipped  # a person sees which of the reviewed labels are wrong
    arms = {
        "as they are": (np.ones(rows, bool), labels),
        "doubtful ones dropped unseen": (~_in(reviewed, rows), labels),
        "wrong ones dropped": (~found, labels),
        "corrected": (np.ones(rows, bool), np.where(found, train.labels, labels)),
        "true labels": (np.ones(rows, bool), train.labels),
    }
    accuracies = {}
    for arm, (kept, given) in arms.items():
        measure = partial(accuracy, _chosen(train, kept), given[kept], test, seed)
        accuracies[arm] = round(done.get_or_measure(f"{seed} {arm}", measure), 4)
    return _quality(judged, flipped, train.labels) | {
        "judging_seconds": round(seconds, 1),
        "accuracy": accuracies,
    }


def _quality(judged: Judgement, flipped: NDArray[np.bool_], truth: Labels) -> dict[str, float]:
    doubted = np.argsort(judged.quality)[: len(flipped) // 10]
    suggested = judged.probabilities.argmax(axis=1)
    right = suggested[judged.issues] == truth[judged.issues]
    return {
        "auroc": round(float(roc_auc_score(flipped, -judged.quality)), 4),
        "flips_in_the_most_doubted_tenth": round(float(flipped[doubted].mean()), 4),
        "issues": int(judged.issues.sum()),
        "issues_that_are_flips": round(float(flipped[judged.issues].mean()), 4),
        "flips_among_issues": round(float(judged.issues[flipped].mean()), 4),
        "suggestions_that_are_right": round(float(right.mean()), 4),
    }


def _in(rows: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    found = np.zeros(count, bool)
    found[rows] = True
    return found


def _chosen(pictures: Pictures, kept: NDArray[np.bool_]) -> Pictures:
    rows = np.flatnonzero(kept).tolist()
    return Pictures(
        tuple(pictures.names[row] for row in rows),
        tuple(pictures.contents[row] for row in rows),
        pictures.vectors[kept],
        pictures.labels[kept],
    )


def _head(train: Pictures, labels: Labels, test: Pictures, seed: int) -> float:
    """Test accuracy of a linear head on the features; an inner validation chooses its penalty."""
    projection, count = Projection.fit(train.vectors), int(test.labels.max()) + 1
    features = projection(train.vectors)
    folds = np.random.default_rng(seed).integers(0, 5, len(labels))
    penalty = judgement.choose_penalty(features, labels, folds, count)
    probe = Probe.fit(features, labels, count, penalty)
    found = probe.probabilities(projection(test.vectors)).argmax(axis=1)
    return float((found == test.labels).mean())


def _network(settings: Settings, architecture: str, epochs: int) -> Accuracy:
    """Training by the hub's learner, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from benchmarks import transfer

    def accuracy(train: Pictures, labels: Labels, test: Pictures, seed: int) -> float:
        plan = TrainingPlan.of(
            settings, "none", 1, architecture=architecture, epochs=epochs, seed=seed, flip=True
        )
        pictures = {
            "train": _decoded(replace(train, labels=labels), plan.side),
            "test": _decoded(test, plan.side),
        }
        found: float = transfer.train(settings, plan, pictures)["accuracy"]
        return found

    return accuracy


def _decoded(pictures: Pictures, side: int) -> inputs.Pictures:
    images = [
        inputs.decode_sample(content, name, side)
        for content, name in zip(pictures.contents, pictures.names, strict=True)
    ]
    return inputs.Pictures(np.stack(images), pictures.labels.astype(np.int32), pictures.names)


def _interval(gains: list[float]) -> dict[str, float]:
    mean, count = float(np.mean(gains)), len(gains)
    if count < 2:
        return {"mean": round(mean, 4)}
    half = float(student.ppf(0.975, count - 1)) * float(np.std(gains, ddof=1)) / math.sqrt(count)
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}


def _timing(train: Pictures, settings: Settings) -> dict[str, Any]:
    """Seconds to judge 50,000 labels, beside scikit-learn's cross-validation on a tenth of the rows."""
    random = np.random.default_rng(0)
    rows = random.integers(0, len(train.labels), CHECKED)
    noise = 0.01 * random.standard_normal((CHECKED, train.vectors.shape[1]), dtype=np.float32)
    vectors = train.vectors[rows] + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels, count = train.labels[rows], int(train.labels.max()) + 1
    groups = np.array(train.names)[rows]
    began = time.monotonic()
    judgement.judge(vectors, labels, groups, count, settings.checks.folds, settings.organize.seed)
    ours = time.monotonic() - began
    part = random.permutation(CHECKED)[: CHECKED // 10]
    began = time.monotonic()
    cross_val_predict(LogisticRegression(), vectors[part], labels[part], method="predict_proba")
    plain = time.monotonic() - began
    return {
        "labels": CHECKED,
        "seconds": round(ours, 1),
        "scikit_learn_seconds_for_a_tenth": round(plain, 1),
        "ratio_per_label": round(ours / (10 * plain), 3),
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
