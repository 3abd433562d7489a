"""hub train: a ResNet on a dataset snapshot, on the workers of a Spark cluster."""

from typing import TYPE_CHECKING

import click

from conf import settings as hub
from conf.errors import UsageError
from conf.sections import LAST_SEED
from jobs.cli.command import Command, Outcome, quiet, run, say
from models.plan import OBJECTIVES, SIDES

if TYPE_CHECKING:
    from conf.settings import Settings
    from models.plan import TrainingPlan
    from models.registry.model_cards import ModelCard
    from models.runs.train import TrainedModel


@click.command(cls=Command, name="train", example="hub train --dataset digits-3f2a --workers 2 --epochs 20")
@click.option("--dataset", "dataset_id", help="Id of the dataset (see `hub organize`).")
@click.option(
    "--labels",
    help="In place of --dataset: a dataset of these labels, separated by commas, made if none fits.",
)
@click.option("--again", is_flag=True, help="With --labels: train even if there is such a model already.")
@click.option(
    "--workers", type=int, default=2, show_default=True, help="TensorFlow workers, one an executor."
)
@click.option("--arch", "architecture", type=click.Choice(list(SIDES)), help="Default: train.arch.")
@click.option("--epochs", type=int, help="Passes over the training split. Default: train.epochs.")
@click.option("--batch-size", type=int, help="Pictures per worker and step. Default: train.batch_size.")
@click.option(
    "--learning-rate", type=float, help="For a global batch of 128, scaled. Default: train.learning_rate."
)
@click.option(
    "--seed",
    type=click.IntRange(0, LAST_SEED),
    help="Of weights, order and augmentation. Default: train.seed.",
)
@click.option(
    "--objective", type=click.Choice(OBJECTIVES), help="labels, or triplet for embeddings. Default: labels."
)
@click.option("--weights", help="Start from a Keras weights file (.h5), with or without its top.")
@click.option(
    "--from", "source", help="Start from a model: its id or a .keras file; a new head for new labels."
)
@click.option("--freeze-epochs", type=int, help="First epochs in which only the head learns.")
@click.option("--flip/--no-flip", default=None, help="Mirror pictures. Default: what the dataset allows.")
def main(dataset_id: str | None, labels: str | None, again: bool, workers: int, **given: object) -> Outcome:
    """Train a ResNet on a dataset, distributed.

    With --labels a ready model of the same dataset, architecture and settings is reused if there is one.
    Writes the model (Keras, SavedModel, TFLite), its figures and curves below the lake's artifacts/, and a
    row in the table models.
    """
    from models.runs.train import planned, train

    settings = hub.load()
    if labels is not None:
        dataset_id = _organized(settings, labels, dataset_id)
    if not dataset_id:
        raise UsageError("name a dataset with --dataset, or labels with --labels")
    plan = planned(settings, dataset_id, workers, **given)
    if labels and not again and (found := _found(settings, plan)):
        return _reused(settings, found)
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
        "input_wait_share": round(trained.input_wait_share, 4),
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
            "verification_accuracy": same and same.accuracy,
            "verification_threshold": same and same.threshold,
        }
    return results, _summary(trained), 0


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _organized(settings: "Settings", labels: str, dataset_id: str | None) -> str:
    """The dataset of the labels asked for, said where a person listens."""
    from jobs.organize import summary
    from organize import demand

    wanted = [label.strip() for label in labels.split(",") if label.strip()]
    if dataset_id or not wanted:
        raise UsageError("--labels takes names separated by commas, and excludes --dataset")
    organized = demand.dataset_of(settings, wanted)
    if not quiet():
        say(summary(organized))
    return organized.dataset_id


def _found(settings: "Settings", plan: "TrainingPlan") -> "ModelCard | None":
    from organize import demand

    return demand.existing(settings, plan)


def _reused(settings: "Settings", card: "ModelCard") -> Outcome:
    from models.inference import catalogue
    from models.registry import model_cards

    found = catalogue.entry(settings, card.model_id)
    results = {
        "model_id": card.model_id,
        "dataset_id": card.dataset_id,
        "reused": True,
        "path": model_cards.artifacts(settings, card.model_id).root,
        "epochs": len(found.history),
        "steps": int(found.figures.get("steps", 0)),
        "workers": card.workers,
        "batch_size": card.plan.get("batch_size"),
        "test_accuracy": card.accuracy if card.objective == "labels" else None,
        "images_per_second": found.figures.get("images_per_second"),
        "seconds": found.figures.get("seconds"),
        "seconds_to_first_step": found.figures.get("seconds_to_first_step"),
        "resumed_from": None,
    }
    accuracy = "" if card.accuracy is None else f" Its test accuracy is {card.accuracy:.4f}."
    text = (
        f"model {card.model_id} is there already: the same dataset, architecture and settings, "
        f"trained on {card.workers} workers.{accuracy} --again trains another."
    )
    return results, text, 0


def _summary(trained: "TrainedModel") -> str:
    accuracy, same = trained.evaluation.accuracy, trained.verification
    figure = "accuracy" if trained.plan.objective == "labels" else "retrieval at 1"
    told = f", {same.accuracy:.4f} of {same.pairs} pairs told apart" if same and same.accuracy else ""
    use = "predict" if trained.plan.objective == "labels" else "evaluate"
    return "\n".join(
        [
            f"model        {trained.model_id}",
            f"test         {'no test pictures' if accuracy is None else f'{figure} {accuracy:.4f}'}"
            f" on {trained.evaluation.pictures} pictures{told}",
            f"trained      {len(trained.history)} epochs, {trained.steps} steps "
            f"on {trained.plan.workers} workers, {trained.images_per_second:,.0f} images/s",
            f"time         {trained.seconds:.0f} s{_times(trained)}",
            f"files        {trained.path}",
            f"next         hub {use} --model {trained.model_id}{' PICTURE' if use == 'predict' else ''}",
        ]
    )


def _times(trained: "TrainedModel") -> str:
    first, after = trained.seconds_to_first_step, trained.seconds_after_last_step
    told = f", first step after {first:.0f} s" if first is not None else ""
    told += f", results {after:.1f} s after the last" if after is not None else ""
    if trained.resumed_from is not None:
        told += f"; went on after epoch {trained.resumed_from}"
    return told


if __name__ == "__main__":
    run(main)
