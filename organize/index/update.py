"""Brings the index up to date with the table: new rows, erased rows, repair."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lake.table_files import TableFiles
from organize.errors import UnusableIndex, UnusableVectors
from organize.features.vectors import to_stored
from organize.index import compaction
from organize.index.compaction import segments_of
from organize.index.manifest import Manifest, SegmentEntry
from organize.index.segment import ID

_LOCK = "lock"


def up_to_date(folder: Path, files: TableFiles, model_id: str, report: Callable[[str], None]) -> Manifest:
    """Update the index in a folder to a version of the table.

    Several processes may have it open: rows are only added, or overwritten with zeros.

    Raises:
        UnusableIndex: the folder cannot be written.
        UnusableVectors: the model has vectors of different lengths.
    """
    manifest = _usable(folder)
    if manifest is not None and manifest.files == frozenset(files.names):
        return manifest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            manifest = _usable(folder)  # another process may have updated it meanwhile
            if manifest is None:
                if any(folder.glob("*.vectors")):
                    report(f"the index in {folder} is damaged: it is made again")
                manifest = Manifest()
            manifest = compaction.compacted(folder, _updated(folder, manifest, files, model_id, report))
            manifest.write(folder)
            _delete_unnamed(folder, manifest)
    except OSError as error:
        raise UnusableIndex(
            f"cannot write the index in {folder}: {error.strerror or error}; set HUB__ORGANIZE__INDEX_DIR to "
            "a folder that this user may write"
        ) from None
    return manifest


def _usable(folder: Path) -> Manifest | None:
    """The manifest, if all of its segments are complete."""
    manifest = Manifest.read(folder)
    if manifest is None or not all(segment.is_complete() for segment in segments_of(folder, manifest)):
        return None
    return manifest


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the index, released when the process ends; waits for another process."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _updated(
    folder: Path, manifest: Manifest, files: TableFiles, model_id: str, report: Callable[[str], None]
) -> Manifest:
    current = frozenset(files.names)
    known: NDArray[np.bytes_] | None = None
    if manifest.files - current:
        # Files are gone: rows were erased, files compacted, or the table was restored to an older version.
        removed, known = _remove_vanished(folder, manifest, files, model_id)
        ahead = manifest.version > files.version
        if ahead or removed:
            state = "was ahead of the table" if ahead else "follows the table"
            report(f"the index of {model_id} {state}: {removed:,} removed images")
    for name in sorted(current - manifest.files):
        for batch in files.batches(name, ["image_id", "model_id", "vector"]):
            manifest = _appended(folder, manifest, _rows_of(batch, model_id), known)
    return replace(manifest, version=files.version, files=current)


def _rows_of(batch: pa.RecordBatch, model_id: str) -> pa.RecordBatch:
    return batch.filter(pc.and_(pc.equal(batch["model_id"], model_id), pc.is_valid(batch["vector"])))


def _appended(
    folder: Path, manifest: Manifest, batch: pa.RecordBatch, known: NDArray[np.bytes_] | None
) -> Manifest:
    """Append rows to the tail, but those that are known already."""
    ids = np.array(batch["image_id"].to_pylist(), ID)
    if known is not None and len(ids):
        new = ~np.isin(ids, known)
        ids, batch = ids[new], batch.filter(pa.array(new))
    if not len(ids):
        return manifest
    vectors = to_stored(batch["vector"])
    if manifest.size and vectors.shape[1] != manifest.size:
        raise UnusableVectors(
            f"embeddings has vectors of {manifest.size} and of {vectors.shape[1]} numbers with the same "
            "model_id: delete the rows of the wrong ones"
        )
    manifest = replace(manifest, size=vectors.shape[1])
    if not manifest.segments or manifest.segments[-1].sealed:
        entry = SegmentEntry(f"{manifest.counter:06}", 0)
        manifest = replace(manifest, segments=(*manifest.segments, entry), counter=manifest.counter + 1)
    tail = segments_of(folder, manifest)[-1].appended(ids, vectors)
    entry = replace(manifest.segments[-1], rows=tail.rows)
    return replace(manifest, segments=(*manifest.segments[:-1], entry))


def _remove_vanished(
    folder: Path, manifest: Manifest, files: TableFiles, model_id: str
) -> tuple[int, NDArray[np.bytes_]]:
    """Remove the images that the table no longer has; their number, and the ids of those that stay."""
    parts = [np.zeros(0, ID)]
    for name in files.names:
        for batch in files.batches(name, ["image_id", "model_id"]):
            own = batch.filter(pc.equal(batch["model_id"], model_id))
            parts.append(np.array(own["image_id"].to_pylist(), ID))
    current = np.concatenate(parts)
    removed, stay = 0, [np.zeros(0, ID)]
    for segment in segments_of(folder, manifest):
        ids = np.array(segment.ids())
        gone = np.flatnonzero(~np.isin(ids, current) & (ids != b""))
        segment.remove(gone)
        removed += len(gone)
        stay.append(np.delete(ids, gone))
    return removed, np.concatenate(stay)


def _delete_unnamed(folder: Path, manifest: Manifest) -> None:
    """Delete the files that no segment has: of segments that were compacted, or left by a crash."""
    named = {entry.name for entry in manifest.segments}
    for file in folder.glob("[0-9]*.*"):
        if file.name.partition(".")[0] not in named:
            file.unlink()
