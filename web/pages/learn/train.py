"""Train: choose labels and a start, wait in the queue, watch it learn, cancel it."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from models.architectures import ARCHITECTURES
from models.errors import UnknownModel
from models.registry import model_cards
from web.access.principal import Principal
from web.api.trainings import find
from web.data import catalogue
from web.data.browse import label_tree, model_results
from web.data.keyset import Where
from web.pages import charts
from web.pages.rendering import render
from web.resources.dependencies import Shared, Trainer
from web.resources.resources import Resources
from web.trainings.training_request import Start, TrainingRequest
from web.trainings.training_store import OPEN, TrainingState

router = APIRouter()

_SHOWN, _MODELS = 10, 30


@router.get("/train")
def form(
    request: Request,
    shared: Shared,
    who: Trainer,
    again: str = "",
    label: Annotated[list[str] | None, Query(max_length=1000)] = None,
) -> HTMLResponse:
    """The form; `?label=` names labels that are chosen, `?again=` a model whose labels are."""
    chosen = tuple(label or ())
    if again:
        try:
            chosen = model_cards.any_card(shared.settings, again).labels
        except UnknownModel:
            again = ""
    return _form(request, shared, who, set(chosen), "", bool(again))


@router.post("/train")
def ask(
    request: Request,
    shared: Shared,
    who: Trainer,
    label: Annotated[list[str] | None, Form()] = None,
    start: Annotated[str, Form(max_length=200)] = "nothing:",
    workers: Annotated[int, Form()] = 2,
    epochs: Annotated[str, Form(max_length=10)] = "",
    again: Annotated[bool, Form()] = False,
) -> Response:
    """Put a training into the queue, or say what is missing."""
    kind, _, which = start.partition(":")
    values = {
        "labels": label or [], "start": kind, "workers": workers, "epochs": epochs or None, "again": again,
        "source": which if kind == Start.MODEL else None,
        "architecture": which or None if kind != Start.MODEL else None,
    }  # fmt: skip
    try:
        wanted = TrainingRequest.model_validate(values)
    except ValidationError as error:
        return _form(request, shared, who, set(label or []), _words(error), again, 422)
    training = shared.trainings.ask(wanted, who.user)
    return RedirectResponse(f"/trainings/{training.training_id}", 303)


@router.get("/trainings/{training_id}")
def show(request: Request, shared: Shared, who: Trainer, training_id: str) -> HTMLResponse:
    """A training: its place in the queue, its progress, its end."""
    return _show(request, shared, who, training_id, "training.html")


@router.get("/trainings/{training_id}/progress")
def progress(request: Request, shared: Shared, who: Trainer, training_id: str) -> HTMLResponse:
    """The part of the page that changes."""
    return _show(request, shared, who, training_id, "training_progress.html")


@router.post("/trainings/{training_id}/cancel")
def cancel(shared: Shared, who: Trainer, training_id: str) -> Response:
    """Cancel a training."""
    find(shared, training_id)
    shared.trainings.cancel(training_id)
    return RedirectResponse(f"/trainings/{training_id}", 303)


def _show(
    request: Request, shared: Resources, who: Principal, training_id: str, template: str
) -> HTMLResponse:
    training = find(shared, training_id)
    model = None
    if training.model_id is not None:
        try:
            model = model_results.load(shared.settings, training.model_id)
        except UnknownModel:  # a training that failed in its set-up leaves none
            model = None
    history = model.history if model else ()
    return render(
        request, who, template,
        training=training,
        running=training.state in OPEN,
        before=shared.trainings.place(training_id) if training.state is TrainingState.QUEUED else 0,
        messages=shared.trainings.messages(training_id),
        model=model,
        accuracies=charts.accuracy_chart([("", history)]) if history else None,
        losses=charts.loss_chart(history) if history else None,
    )  # fmt: skip


def _form(
    request: Request, shared: Resources, who: Principal, chosen: set[str], problem: str, again: bool,
    status: int = 200,
) -> HTMLResponse:  # fmt: skip
    settings = shared.settings
    ready = catalogue.MODELS.page(shared.mirror, _MODELS, None, Where().equal(state="ready"))
    return render(
        request, who, "train.html", status,
        nodes=label_tree.tree(shared.mirror, shared.hierarchy, settings.labels.ready_images),
        wanted=settings.labels.ready_images,
        chosen=chosen,
        problem=problem,
        again=again,
        architecture=settings.train.arch,
        architectures=list(ARCHITECTURES),
        pretrained=[name for name, each in ARCHITECTURES.items() if each.wheel],
        models=ready.items,
        epochs=settings.train.epochs,
        trainings=shared.trainings.store.newest(_SHOWN),
    )  # fmt: skip


def _words(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["loc"] and first["loc"][0] == "labels":
        return "Choose at least two labels: a model tells them apart."
    place = ".".join(str(each) for each in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"]).removeprefix("Value error, ")
