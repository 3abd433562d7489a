"""One picture: how it looks, what is known about it, and what was decided."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from web.data.browse import label_tree, samples
from web.data.browse.samples import PictureFilter
from web.pages.rendering import render
from web.problems.problem import Problem
from web.resources.dependencies import Reviewer, Shared

router = APIRouter()

_NEAR = 12


@router.get("/pictures/{image_id}")
def show(
    request: Request, shared: Shared, who: Reviewer, image_id: str, done: str | None = None
) -> HTMLResponse:
    """The picture, its uploads, its near duplicates, and the decisions about its label."""
    picture = samples.find(shared.mirror, image_id)
    if picture is None:
        raise Problem(404, f"no picture {image_id[:80]!r}: its uploads were rejected or erased")
    near = []
    if picture.stacked > 1:
        group = PictureFilter(group=picture.duplicate_group)
        near = [
            each
            for each in samples.page(shared.mirror, None, group, _NEAR + 1, None).items
            if each.image_id != image_id
        ][:_NEAR]
    uploads = shared.mirror.rows(
        """SELECT upload_id, "user", device, batch, label, event_time, width, height, format, bytes, geohash
        FROM uploads WHERE image_id = ? AND verdict = 'accepted' ORDER BY ingest_time LIMIT 20""",
        [image_id],
    )
    decisions = shared.mirror.rows(
        """SELECT decision_id, kind, label_before, label_after, "user", decided FROM decisions
        WHERE image_id = ? ORDER BY decided DESC LIMIT 20""",
        [image_id],
    )
    try:
        alike = shared.similar.of_image(image_id, _NEAR)
    except Problem:  # no embeddings yet
        alike = []
    nodes = label_tree.tree(shared.mirror, shared.hierarchy, shared.settings.labels.ready_images)
    return render(
        request, who, "picture.html",
        picture=picture, near=near, uploads=uploads, decisions=decisions, nodes=nodes, alike=alike,
        done=done, back=f"/pictures/{image_id}",
    )  # fmt: skip
