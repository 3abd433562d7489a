"""Pictures that a run would be measured on though what it starts from was trained on them. No TensorFlow."""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from lake.errors import DamagedSnapshot
from lake.snapshot import Snapshot, Split
from lake.storage import Storage
from models.errors import UnfitStart
from models.plan import TrainingPlan
from models.workers import initial_weights

_HOW = ("fractions", "phash_distance")  # of a snapshot's filter: with the seed, what deals pictures to splits


def count_leaked(settings: Settings, plan: TrainingPlan, snapshot: Snapshot) -> int:
    """How many validation and test pictures the start was trained on, as far as cards and snapshots tell.

    Of datasets dealt alike these are a few, whose group of near copies has got another name; a line says how
    many. What cannot be found out any more is a line, too.

    Raises:
        UnfitStart: some were trained on in a dataset that was dealt otherwise.
        UnknownModel, UnusableModel: `--from` names none that is ready.
    """
    if not plan.source:
        return 0
    held = _hashes(snapshot, Split.VALIDATION, Split.TEST)
    known = np.zeros(len(held), bool)
    for dataset_id, model_id in _trained_on(settings, plan):
        try:
            theirs = Snapshot.load(Storage(settings.lake.at("snapshots", dataset_id), settings.s3))
            trained = _hashes(theirs, Split.TRAIN)
        except DamagedSnapshot as error:
            print(f"nobody knows whether {model_id} has seen test pictures: {error}", file=sys.stderr)
            continue
        seen = np.isin(held, trained)
        known |= seen
        if not seen.any():
            continue
        told = (
            f"{model_id} was trained, in dataset {dataset_id}, on {seen.sum():,} of the {len(held):,} "
            f"validation and test pictures of dataset {plan.dataset_id}"
        )
        if _dealing(theirs) != _dealing(snapshot):
            raise UnfitStart(
                f"--from {plan.source}: {told}, so its figures would be too good: "
                f"{_way_out(theirs, snapshot)}, or train with --dataset {dataset_id}"
            )
        print(f"{told}: near copies of others, which the split has moved", file=sys.stderr)
    return int(known.sum())


def _trained_on(settings: Settings, plan: TrainingPlan) -> Iterator[tuple[str, str]]:
    """Other datasets that a plan's start knows, each once, with the newest model that was trained on it."""
    seen = {plan.dataset_id}
    for card in initial_weights.ancestors(settings, plan.source):
        if card.dataset_id not in seen:
            seen.add(card.dataset_id)
            yield card.dataset_id, card.model_id


def _hashes(snapshot: Snapshot, *splits: Split) -> NDArray[np.int64]:
    """Of the ids of some splits, by this process: 8 bytes each, however many millions there are."""
    parts = [
        np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids))
        for split in splits
        for ids in snapshot.column(split, "image_id")
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _dealing(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.seed, *(snapshot.filter.get(name) for name in _HOW)


def _way_out(theirs: Snapshot, ours: Snapshot) -> str:
    if theirs.seed != ours.seed:
        return f"`hub organize --seed {theirs.seed}`"
    return "organize with its organize.fractions and --phash-distance"
