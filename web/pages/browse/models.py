"""Models: all of them, one with its curves and mistakes, several compared, and their files."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from models.registry import model_cards
from models.registry.model_cards import State
from web.api.parameters import After
from web.data import catalogue
from web.data.browse import model_results, samples
from web.pages import charts
from web.pages.browse.datasets import tar
from web.pages.rendering import render
from web.problems.problem import Problem
from web.resources.dependencies import Shared, Uploader

router = APIRouter()

_LIMIT, _MISTAKES, _COMPARED, _MATRIX = 30, 24, 6, 26


@router.get("/models")
def index(request: Request, shared: Shared, who: Uploader, after: After = None) -> HTMLResponse:
    """All models, the newest first."""
    page = catalogue.MODELS.page(shared.mirror, _LIMIT, after)
    return render(request, who, "models.html", page=page, after=after)


@router.get("/models/compare")
def compare(
    request: Request, shared: Shared, who: Uploader, id: Annotated[list[str], Query(max_length=_COMPARED)]
) -> HTMLResponse:
    """Several models side by side."""
    if len(set(id)) < 2:
        raise Problem(422, "choose at least two models to compare", "bad_parameter")
    found = [model_results.load(shared.settings, each) for each in dict.fromkeys(id)]
    chart = charts.accuracy_chart([(each.card.model_id, each.history) for each in found])
    return render(request, who, "models_compared.html", models=found, chart=chart)


@router.get("/models/{model_id}")
def show(request: Request, shared: Shared, who: Uploader, model_id: str) -> HTMLResponse:
    """A model: its results, or how far its training is."""
    found = model_results.load(shared.settings, model_id)
    mistakes = found.mistakes[:_MISTAKES]
    bins = found.evaluation.get("calibration")
    return render(
        request, who, "model.html",
        model=found,
        card=found.card,
        formats=model_results.FORMATS,
        mistakes=mistakes,
        rows=samples.by_ids(shared.mirror, [each.image_id for each in mistakes]),
        matrix=_matrix(found) if len(found.card.labels) <= _MATRIX else [],
        calibration=charts.calibration_chart(bins) if bins else None,
        **_curves(found),
    )  # fmt: skip


@router.get("/models/{model_id}/progress")
def progress(request: Request, shared: Shared, who: Uploader, model_id: str) -> HTMLResponse:
    """The part of the page that moves while a model is trained."""
    found = model_results.load(shared.settings, model_id)
    return render(request, who, "model_progress.html", model=found, card=found.card, **_curves(found))


@router.get("/models/{model_id}/mistakes")
def mistakes(
    request: Request, shared: Shared, who: Uploader, model_id: str, label: str, predicted: str
) -> HTMLResponse:
    """Test pictures of a label that were taken for another: a cell of the confusion matrix."""
    found = model_results.load(shared.settings, model_id)
    wrong = [each for each in found.mistakes if (each.label, each.predicted) == (label, predicted)]
    labels = list(found.evaluation.get("labels", ()))
    known = label in labels and predicted in labels
    total = found.evaluation["confusion"][labels.index(label)][labels.index(predicted)] if known else 0
    return render(
        request, who, "mistakes.html",
        card=found.card, label=label, predicted=predicted, mistakes=wrong, total=total,
        rows=samples.by_ids(shared.mirror, [each.image_id for each in wrong]),
    )  # fmt: skip


@router.get("/models/{model_id}/files/{name}")
def download(shared: Shared, who: Uploader, model_id: str, name: str) -> Response:
    """A file of a ready model, or its SavedModel as a tar."""
    card = model_cards.any_card(shared.settings, model_id)
    if name not in model_results.FORMATS or card.state not in (State.READY, State.RETIRED):
        raise Problem(404, f"model {model_id} is {card.state} and has no file {name[:40]!r} to download")
    path, _ = model_results.FORMATS[name]
    files = model_cards.artifact_storage(shared.settings, model_id)
    existing = [each for each in files.list_files() if each == path or each.startswith(f"{path}/")]
    if not existing:
        raise Problem(404, f"model {model_id} has no {path}: an older hub trained it; train it again")
    kind = "application/x-tar" if existing != [path] else "application/octet-stream"
    suffix = ".tar" if existing != [path] else ""
    headers = {"Content-Disposition": f'attachment; filename="{model_id}-{path}{suffix}"'}
    if existing == [path]:
        return Response(files.read(path), media_type=kind, headers=headers)
    return StreamingResponse(tar(files, model_id, existing), media_type=kind, headers=headers)


def _curves(found: model_results.ModelResults) -> dict[str, Any]:
    history = found.history
    return {
        "accuracies": charts.accuracy_chart([("", history)]) if history else None,
        "losses": charts.loss_chart(history) if history else None,
    }


def _matrix(found: model_results.ModelResults) -> list[tuple[str, list[tuple[str, int, int]]]]:
    """Rows of the confusion matrix: true label; each predicted label with its number and heat, 0 to 9."""
    labels = found.evaluation.get("labels", ())
    rows = []
    for label, numbers in zip(labels, found.evaluation.get("confusion", ()), strict=True):
        total = max(sum(numbers), 1)
        cells = [
            (predicted, number, min(9, -(-9 * number // total)))
            for predicted, number in zip(labels, numbers, strict=True)
        ]
        rows.append((label, cells))
    return rows
