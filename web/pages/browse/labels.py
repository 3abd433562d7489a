"""The labels as a tree, and the pictures of a label."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from web.access.principal import Principal
from web.api.parameters import After
from web.data.browse import label_tree, samples
from web.data.browse.samples import PictureFilter, Quality
from web.pages.links import link, segment
from web.pages.rendering import render
from web.problems.problem import Problem
from web.resources.dependencies import Reviewer, Shared
from web.resources.resources import Resources

router = APIRouter()

_LIMIT = 60
_WORDS = {
    Quality.DOUBTFUL: "another label is suggested",
    Quality.LOW: "low",
    Quality.HIGH: "high",
    Quality.CHECKED: "a person has checked it",
}


@router.get("/labels")
def index(request: Request, shared: Shared, who: Reviewer) -> HTMLResponse:
    """All labels with their pictures, and how far they are."""
    nodes = label_tree.tree(shared.mirror, shared.hierarchy, shared.settings.labels.ready_images)
    return render(request, who, "labels.html", nodes=nodes, wanted=shared.settings.labels.ready_images)


@router.get("/labels/{label}")
def show(
    request: Request,
    shared: Shared,
    who: Reviewer,
    label: str,
    wanted: Annotated[PictureFilter, Query()],
    after: After = None,
    done: str | None = None,
) -> HTMLResponse:
    """The pictures of a label; `done` is a decision that was just taken."""
    nodes = label_tree.tree(shared.mirror, shared.hierarchy, shared.settings.labels.ready_images)
    node = next((each for each in nodes if each.label == label), None)
    if node is None:
        raise Problem(404, f"no label {label!r}: it has no accepted pictures, or another name")
    names = {each.label: each.name for each in nodes}
    above = [
        (names.get(each, each), f"/labels/{segment(each)}") for each in shared.hierarchy.ancestors(label)
    ]
    below = [each for each in nodes if label in shared.hierarchy.ancestors(each.label)]
    return _pictures(
        request, shared, who, label, wanted, after,
        done=done, title=node.name, node=node, nodes=nodes, above=above[::-1], below=below,
    )  # fmt: skip


@router.get("/pictures")
def pictures(
    request: Request,
    shared: Shared,
    who: Reviewer,
    wanted: Annotated[PictureFilter, Query()],
    after: After = None,
    done: str | None = None,
) -> HTMLResponse:
    """The pictures of all labels, filtered."""
    nodes = label_tree.tree(shared.mirror, shared.hierarchy, shared.settings.labels.ready_images)
    return _pictures(
        request, shared, who, None, wanted, after,
        done=done, title="Pictures", node=None, nodes=nodes, above=[], below=[],
    )  # fmt: skip


def _pictures(
    request: Request,
    shared: Resources,
    who: Principal,
    label: str | None,
    wanted: PictureFilter,
    after: str | None,
    **values: Any,
) -> HTMLResponse:
    path = f"/labels/{segment(label)}" if label else "/pictures"
    chosen = {name: value for name, value in wanted.model_dump(mode="json").items() if value}
    return render(
        request, who, "pictures.html",
        label=label,
        page=samples.page(shared.mirror, label, wanted, _LIMIT, after),
        total=samples.count(shared.mirror, label, wanted),
        facets=samples.facets(shared.mirror, label),
        qualities=_WORDS,
        chosen=chosen,
        after=after,
        path=path,
        back=link(path, after=after, **chosen),
        **values,
    )  # fmt: skip
