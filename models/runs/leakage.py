"""Train/test leakage: evaluation pictures that the initial model was trained on. No TensorFlow."""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from lake.errors import DamagedSnapshot
from lake.snapshot import DatasetSnapshot, Split
from lake.storage import Storage
from models.errors import UnusableInitialWeights
from models.plan import TrainingPlan
from models.workers import initial_weights

# Keys of a dataset snapshot's filter that, with its seed, decide the split of a picture.
_SPLIT_KEYS = ("fractions", "phash_distance", "split_by", "split_generation")


def count_leaked(settings: Settings, plan: TrainingPlan, snapshot: DatasetSnapshot) -> int:
    """Count validation and test pictures that the initial model or one of its ancestors was trained on.

    Datasets that were split with the same settings share only a few: near copies whose group changed. These
    are counted and printed. An ancestor's dataset that is deleted or damaged is printed and skipped, and so
    are published weights.

    Raises:
        UnusableInitialWeights: pictures leaked from a dataset that was split with other settings.
        UnknownModel, UnusableModel: `--from` names no ready model.
    """
    if plan.pretrained:
        _print_unchecked(f"the published weights of {plan.pretrained}")
    if not plan.source:
        return 0
    evaluated = _id_hashes(snapshot, Split.VALIDATION, Split.TEST)
    leaked = np.zeros(len(evaluated), bool)
    for dataset_id, model_id in _ancestor_datasets(settings, plan):
        try:
            theirs = DatasetSnapshot.load(Storage(settings.lake.at("snapshots", dataset_id), settings.s3))
            trained = _id_hashes(theirs, Split.TRAIN)
        except DamagedSnapshot as error:
            print(f"cannot check whether {model_id} was trained on test pictures: {error}", file=sys.stderr)
            continue
        seen = np.isin(evaluated, trained)
        leaked |= seen
        if not seen.any():
            continue
        finding = (
            f"{model_id} was trained, in dataset {dataset_id}, on {seen.sum():,} of the {len(evaluated):,} "
            f"validation and test pictures of dataset {plan.dataset_id}"
        )
        if _split_settings(theirs) != _split_settings(snapshot):
            raise UnusableInitialWeights(
                f"--from {plan.source}: {finding}, so its metrics would be too good: "
                f"{_advice(theirs, snapshot)}, or train with --dataset {dataset_id}"
            )
        print(f"{finding}: near copies whose split differs between the two datasets", file=sys.stderr)
    return int(leaked.sum())


def _print_unchecked(published: str) -> None:
    """Say what ids cannot tell: published weights come without the pictures they have seen."""
    print(f"{published} were trained on ImageNet: a test on its pictures would be too good", file=sys.stderr)


def _ancestor_datasets(settings: Settings, plan: TrainingPlan) -> Iterator[tuple[str, str]]:
    """Yield each other dataset of the initial model's ancestors, with the newest model trained on it."""
    seen = {plan.dataset_id}
    for card in initial_weights.ancestors(settings, plan.source):
        if origin := card.plan.get("pretrained"):
            _print_unchecked(f"{card.model_id} started from {origin}, whose weights")
        if card.dataset_id not in seen:
            seen.add(card.dataset_id)
            yield card.dataset_id, card.model_id


def _id_hashes(snapshot: DatasetSnapshot, *splits: Split) -> NDArray[np.int64]:
    """Hashes of the image ids of some splits, 8 bytes each; comparable within this process only."""
    hashes = [
        np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids))
        for split in splits
        for ids in snapshot.column(split, "image_id")
    ]
    return np.concatenate(hashes) if hashes else np.zeros(0, np.int64)


def _split_settings(snapshot: DatasetSnapshot) -> tuple[object, ...]:
    # The split of a label depends on the other labels, too.
    labels = snapshot.labels if snapshot.split_by_label else None
    return snapshot.seed, labels, *(snapshot.filter.get(name) for name in _SPLIT_KEYS)


def _advice(theirs: DatasetSnapshot, ours: DatasetSnapshot) -> str:
    if theirs.split_by_label or ours.split_by_label:
        return "organize with the same --split-by and --labels"
    # Images keep their splits, unless an older hub organized with another seed, or --new-splits was forced.
    return "the lake was split anew since; start from a model that was trained after that"
