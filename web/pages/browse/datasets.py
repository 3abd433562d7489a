"""Datasets: all of them, one with its card, counts and pictures, two compared, and the download."""

import tarfile
from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from lake.snapshot import MANIFEST, DatasetSnapshot
from lake.storage import Storage
from web.api.parameters import After
from web.data import catalogue
from web.data.browse import dataset_contents, samples
from web.data.catalogue import DatasetRow
from web.data.keyset import Where
from web.pages.rendering import render
from web.problems.problem import Problem
from web.resources.dependencies import Reviewer, Shared
from web.resources.resources import Resources

router = APIRouter()

_LIMIT, _PER_LABEL = 30, 8


@router.get("/datasets")
def index(request: Request, shared: Shared, who: Reviewer, after: After = None) -> HTMLResponse:
    """All datasets, the newest first."""
    page = catalogue.DATASETS.page(shared.mirror, _LIMIT, after)
    return render(request, who, "datasets.html", page=page, after=after)


@router.get("/datasets/compare")
def compare(request: Request, shared: Shared, who: Reviewer, a: str, b: str) -> HTMLResponse:
    """How the images of two datasets differ; the older one is `a`."""
    one, other = _find(shared, a), _find(shared, b)
    found = dataset_contents.compare(
        dataset_contents.read(shared.settings, a), dataset_contents.read(shared.settings, b)
    )
    changes = [
        ("Added", found.added), ("Removed", found.removed), ("Other label", found.relabelled),
        ("Other split", found.moved),
    ]  # fmt: skip
    shown = [image_id for _, change in changes for image_id in change.shown]
    rows = samples.by_ids(shared.mirror, shown)
    return render(
        request, who, "datasets_compared.html", a=one, b=other, same=found.same, changes=changes, rows=rows
    )


@router.get("/datasets/{dataset_id}")
def show(request: Request, shared: Shared, who: Reviewer, dataset_id: str) -> HTMLResponse:
    """A dataset: where it comes from, images by label and split, and some of its pictures."""
    found = _find(shared, dataset_id)
    contents = dataset_contents.read(shared.settings, dataset_id)
    sheet = contents.first_of_labels(_PER_LABEL)
    others = [each for each in catalogue.DATASETS.page(shared.mirror, _LIMIT, None).items if each != found]
    return render(
        request, who, "dataset.html",
        dataset=found,
        filter=shared.mirror.rows(
            "SELECT filter, table_versions FROM datasets WHERE dataset_id = ?", [dataset_id]
        )[0],
        counts=contents.counts(),
        sheet=sheet,
        rows=samples.by_ids(shared.mirror, [each for ids in sheet.values() for each in ids]),
        models=catalogue.MODELS.page(shared.mirror, 20, None, Where().equal(dataset_id=dataset_id)).items,
        others=others,
    )  # fmt: skip


@router.get("/datasets/{dataset_id}/download")
def download(shared: Shared, who: Reviewer, dataset_id: str) -> StreamingResponse:
    """The snapshot as a tar of its manifest and Parquet shards, one file in memory at a time."""
    _find(shared, dataset_id)
    snapshot = DatasetSnapshot.load(
        Storage(shared.settings.lake.at("snapshots", dataset_id), shared.settings.s3)
    )
    names = [MANIFEST, *(shard.path for shards in snapshot.shards.values() for shard in shards)]
    headers = {"Content-Disposition": f'attachment; filename="{dataset_id}.tar"'}
    parts = tar(snapshot.storage, dataset_id, names)
    return StreamingResponse(parts, media_type="application/x-tar", headers=headers)


def tar(storage: Storage, folder: str, names: list[str]) -> Iterator[bytes]:
    """The parts of a tar of stored files, in a folder of its own."""
    for name in names:
        content = storage.read(name)
        entry = tarfile.TarInfo(f"{folder}/{name}")
        entry.size = len(content)
        yield entry.tobuf(tarfile.PAX_FORMAT)
        yield content
        yield bytes(-len(content) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _find(shared: Resources, dataset_id: str) -> DatasetRow:
    found = catalogue.DATASETS.page(shared.mirror, 1, None, Where().equal(dataset_id=dataset_id)).items
    if not found:
        raise Problem(404, f"no dataset {dataset_id[:80]!r}")
    return found[0]
