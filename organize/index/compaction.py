"""Segments are sealed when they are large enough, and merged so that there are few of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from organize.index import compressed
from organize.index.manifest import Manifest, SegmentEntry
from organize.index.segment import Segment

SEAL_ROWS = 16_384  # a scan of so many takes about 30 ms
_COPIED_ROWS = 8192  # at once


def segments_of(folder: Path, manifest: Manifest) -> list[Segment]:
    """The segments that a manifest names."""
    return [
        Segment(folder, entry.name, entry.rows, manifest.size, entry.sealed) for entry in manifest.segments
    ]


def compacted(folder: Path, manifest: Manifest) -> Manifest:
    """Seal the tail if it has `SEAL_ROWS`, and merge a sealed segment with one that is not twice as large.

    So a vector is copied a number of times that grows with the logarithm of all rows, and as many segments
    are searched. Segments that are replaced stay until the manifest is written.
    """
    entries = list(manifest.segments)
    if not entries or entries[-1].sealed or entries[-1].rows < SEAL_ROWS:
        return manifest
    merged = [entries.pop()]
    rows = merged[0].rows
    while entries and entries[-1].rows < 2 * rows:
        merged.insert(0, entries.pop())
        rows += merged[0].rows
    parts = segments_of(folder, replace(manifest, segments=tuple(merged)))
    target = Segment(folder, f"{manifest.counter:06}", 0, manifest.size)
    for part in parts:
        target = _with_rows_of(target, part)
    compressed.build(target.vector_file, (target.rows, target.size), target.index_file)
    entry = SegmentEntry(target.name, target.rows, sealed=True)
    return replace(manifest, segments=(*entries, entry), counter=manifest.counter + 1)


def _with_rows_of(target: Segment, part: Segment) -> Segment:
    """The target with the rows of another segment, but the removed ones."""
    for first in range(0, part.rows, _COPIED_ROWS):
        ids = np.array(part.ids()[first : first + _COPIED_ROWS])
        vectors = part.vectors()[first : first + _COPIED_ROWS]
        kept = ids != b""
        if kept.any():
            target = target.appended(ids[kept], vectors[kept])
    return target
