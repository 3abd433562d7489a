"""Trainings: ask for one, follow it, cancel it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from web.problems.problem import Problem
from web.resources.dependencies import Shared, Trainer
from web.resources.resources import Resources
from web.trainings.training_request import TrainingRequest
from web.trainings.training_store import Training, TrainingState

router = APIRouter(prefix="/trainings", tags=["trainings"])

TrainingId = Annotated[str, Path(max_length=80, description="The id of the training.")]


class TrainingStatus(BaseModel):
    """A training and how far it is; times are in UTC.

    `before` trainings are before it in the queue. `messages` are the last lines of its process.
    """

    id: str
    state: TrainingState
    user: str
    request: TrainingRequest
    asked: str
    started: str | None
    ended: str | None
    before: int
    model_id: str | None
    detail: str
    messages: list[str]

    @classmethod
    def of(cls, shared: Resources, training: Training) -> "TrainingStatus":
        """The status of a training."""
        queue = shared.trainings
        values: dict[str, Any] = {
            name: getattr(training, name) for name in ("state", "user", "request", "asked")
        }
        return cls(
            id=training.training_id, started=training.started, ended=training.ended,
            before=queue.place(training.training_id) if training.state is TrainingState.QUEUED else 0,
            model_id=training.model_id, detail=training.detail, messages=queue.messages(training.training_id),
            **values,
        )  # fmt: skip


@router.post("", status_code=202, summary="Ask for a training")
def ask(response: Response, shared: Shared, who: Trainer, wanted: TrainingRequest) -> TrainingStatus:
    """Train a model on the pictures of some labels, as `hub train --labels` does.

    An equal model that exists is reused, unless `again` is true. A training waits until those before ended.
    """
    training = shared.trainings.ask(wanted, who.user)
    response.headers["Location"] = f"/api/v1/trainings/{training.training_id}"
    return TrainingStatus.of(shared, training)


@router.get("", summary="List trainings, the newest first")
def index(
    shared: Shared, who: Trainer, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> list[TrainingStatus]:
    """Trainings that were asked for here or on a page."""
    return [TrainingStatus.of(shared, each) for each in shared.trainings.store.newest(limit)]


@router.get("/{training_id}", summary="How far a training is")
def show(shared: Shared, who: Trainer, training_id: TrainingId) -> TrainingStatus:
    """The state of a training; `GET /models` has its model's metrics."""
    return TrainingStatus.of(shared, find(shared, training_id))


@router.delete("/{training_id}", summary="Cancel a training")
def cancel(shared: Shared, who: Trainer, training_id: TrainingId) -> TrainingStatus:
    """Take a training out of the queue, or stop it; one that has ended stays as it is."""
    find(shared, training_id)
    shared.trainings.cancel(training_id)
    return TrainingStatus.of(shared, find(shared, training_id))


def find(shared: Resources, training_id: str) -> Training:
    """A training by its id.

    Raises:
        Problem: 404, there is none.
    """
    found = shared.trainings.store.get(training_id)
    if found is None:
        raise Problem(404, f"no training {training_id!r}")
    return found
