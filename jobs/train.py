"""`hub train`: train a network on a dataset snapshot, distributed with TensorFlowOnSpark."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from conf import settings as hub
from conf.errors import UsageError
from conf.value_types import LAST_SEED
from jobs.cli.command import Command, Outcome, quiet, run, say
from jobs.cli.label_flags import parse_labels
from models.architectures import ARCHITECTURES
from models.plan import OBJECTIVES

if TYPE_CHECKING:
    from conf.settings import Settings
    from models.plan import TrainingPlan
    from models.registry.model_cards import ModelCard
    from models.runs.train import TrainedModel


@click.command(cls=Command, name="train", example="hub train --dataset ds-86a4b15d1963 --workers 2")
@click.option("--dataset", "dataset_id", help="Id of the dataset (see `hub organize`).")
@click.option(
    "--labels",
    help="Instead of --dataset: labels or names, separated by commas; their dataset is created if needed.",
)
@click.option("--again", is_flag=True, help="With --labels: train even if such a model exists.")
@click.option(
    "--workers", type=int, default=2, show_default=True, help="TensorFlow workers, one per executor."
)
@click.option("--arch", "architecture", type=click.Choice(list(ARCHITECTURES)), help="Default: train.arch.")
@click.option("--epochs", type=int, help="Epochs. Default: train.epochs.")
@click.option("--batch-size", type=int, help="Pictures per worker and step. Default: train.batch_size.")
@click.option(
    "--learning-rate", type=float, help="For a global batch of 128; scaled. Default: train.learning_rate."
)
@click.option(
    "--seed",
    type=click.IntRange(0, LAST_SEED),
    help="Seed of initial weights, shuffling and augmentation. Default: train.seed.",
)
@click.option(
    "--objective", type=click.Choice(OBJECTIVES), help="labels, or triplet for embeddings. Default: labels."
)
@click.option("--weights", help="Keras weights file (.h5) to start from, with or without its head.")
@click.option(
    "--from", "source", help="Model to start from: an id or a .keras file. New labels get a new head."
)
@click.option(
    "--pretrained",
    is_flag=True,
    default=None,
    help="Start from published weights (ImageNet) of the architecture.",
)
@click.option(
    "--side", type=int, help="Side of the model's input pictures in pixels, as the architecture allows."
)
@click.option(
    "--freeze-epochs",
    type=int,
    help="Number of first epochs that train only the head. Default: 0, with --pretrained a quarter of them.",
)
@click.option(
    "--flip/--no-flip", default=None, help="Mirror pictures at random. Default: if the dataset allows it."
)
def main(dataset_id: str | None, labels: str | None, again: bool, workers: int, **options: object) -> Outcome:
    """Train a network on a dataset, distributed.

    With --labels, a ready model of the same dataset, architecture and settings is reused. The model (Keras,
    SavedModel, TFLite), its metrics and plots are written below the lake's artifacts/, and a row to the table
    models.
    """
    from models.runs.train import make_plan, train

    settings = hub.load()
    if labels is not None:
        dataset_id = _dataset_of_labels(settings, labels, dataset_id)
    if not dataset_id:
        raise UsageError("give a dataset with --dataset, or labels with --labels")
    plan = make_plan(settings, dataset_id, workers, **options)
    if labels and not again and (existing := _find_model(settings, plan)):
        return _reused(settings, existing)
    trained = train(settings, plan, bar=not quiet())
    results = {
        "model_id": trained.model_id,
        "dataset_id": dataset_id,
        "reused": False,
        "path": trained.path,
        "epochs": len(trained.history),
        "steps": trained.steps,
        "workers": plan.workers,
        "batch_size": trained.batch,
        "test_accuracy": trained.evaluation.accuracy if plan.objective == "labels" else None,
        "validation_accuracy": trained.history[-1].validation_accuracy,
        "images_per_second": round(trained.images_per_second, 1),
        "learning_rate": trained.peak_rate,
        "input_wait_share": round(trained.input_wait_share, 4),
        "time_shares": {name: round(share, 4) for name, share in asdict(trained.time_shares).items()},
        "seconds": round(trained.seconds, 2),
        "seconds_to_first_step": _rounded(trained.seconds_to_first_step),
        "seconds_after_last_step": _rounded(trained.seconds_after_last_step),
        "cpu_seconds": round(trained.cpu_seconds, 1),
        "resumed_from": trained.resumed_from,
        "restarts": trained.restarts,
    }
    if plan.objective == "triplet":
        same = trained.verification
        results |= {
            "retrieval_at_1": trained.evaluation.accuracy,
            "protocol": trained.evaluation.protocol,
            "verification_accuracy": same and same.accuracy,
            "verification_threshold": same and same.threshold,
        }
    return results, _summary(trained), 0


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _dataset_of_labels(settings: "Settings", labels: str, dataset_id: str | None) -> str:
    """Get or create the dataset of the given labels; print its summary without --json."""
    from jobs.organize import summary
    from organize import demand

    if dataset_id:
        raise UsageError("--labels cannot be used with --dataset: give one of them")
    wanted = parse_labels(labels, "give names separated by commas, or --dataset")
    organized = demand.get_or_create_dataset(settings, wanted)
    if not quiet():
        say(summary(organized))
    return organized.dataset_id


def _find_model(settings: "Settings", plan: "TrainingPlan") -> "ModelCard | None":
    from organize import demand

    return demand.find_model(settings, plan)


def _reused(settings: "Settings", card: "ModelCard") -> Outcome:
    """The outcome of a command that trains nothing, because an equal model exists."""
    from models.inference import catalogue
    from models.registry import model_cards

    entry = catalogue.load_entry(settings, card.model_id)
    results = {
        "model_id": card.model_id,
        "dataset_id": card.dataset_id,
        "reused": True,
        "path": model_cards.artifact_storage(settings, card.model_id).root,
        "epochs": len(entry.history),
        "steps": int(entry.figures.get("steps", 0)),
        "workers": card.workers,
        "batch_size": int(entry.figures.get("batch_size", 0)) or card.plan.get("batch_size"),
        "test_accuracy": card.accuracy if card.objective == "labels" else None,
        "images_per_second": entry.figures.get("images_per_second"),
        "seconds": entry.figures.get("seconds"),
        "seconds_to_first_step": entry.figures.get("seconds_to_first_step"),
        "resumed_from": None,
    }
    accuracy = "" if card.accuracy is None else f" Its test accuracy is {card.accuracy:.4f}."
    text = (
        f"model {card.model_id} exists already: same dataset, architecture and settings, "
        f"trained on {card.workers} workers.{accuracy} --again trains another."
    )
    return results, text, 0


def _summary(trained: "TrainedModel") -> str:
    accuracy, pairs = trained.evaluation.accuracy, trained.verification
    metric = trained.evaluation.metric
    verified = (
        f", verification accuracy {pairs.accuracy:.4f} on {pairs.pairs} pairs"
        if pairs and pairs.accuracy
        else ""
    )
    use = "predict" if trained.plan.objective == "labels" else "evaluate"
    return "\n".join(
        [
            f"model        {trained.model_id}",
            f"test         {'no test pictures' if accuracy is None else f'{metric} {accuracy:.4f}'}"
            f" on {trained.evaluation.pictures} pictures{verified}",
            f"trained      {len(trained.history)} epochs, {trained.steps} steps "
            f"on {trained.plan.workers} workers, {trained.images_per_second:,.0f} images/s",
            f"time         {trained.seconds:.0f} s{_times(trained)}",
            f"steps        {trained.batch} pictures on each worker, "
            f"learning rate up to {trained.peak_rate:.4g}",
            f"epochs       {trained.time_shares}",
            f"files        {trained.path}",
            f"next         {_next(use, trained.model_id)}",
        ]
    )


def _next(use: str, model_id: str) -> str:
    from jobs.cli.next_command import typed, typed_with_file

    command = f"{use} --model {model_id}"
    return typed_with_file(command, "PICTURE") if use == "predict" else typed(command)


def _times(trained: "TrainedModel") -> str:
    first, after = trained.seconds_to_first_step, trained.seconds_after_last_step
    text = f", first step after {first:.0f} s" if first is not None else ""
    text += f", results {after:.1f} s after the last" if after is not None else ""
    if trained.resumed_from is not None:
        text += f"; resumed after epoch {trained.resumed_from}"
    return text


if __name__ == "__main__":
    run(main)
