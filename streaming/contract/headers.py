"""Convert the Kafka headers of a micro-batch from Arrow to Python, with a limit for each record."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from streaming.contract.envelope import KNOWN_HEADERS
from streaming.contract.record import Header


def from_arrow(column: pa.Array, limit: int) -> tuple[list[list[Header]], list[int]]:
    """Convert the headers of each record, at most `limit` of them.

    A header needs 2 bytes in Kafka and 280 in Python, so the headers of one record could fill the worker's
    memory. Omitted headers are never converted. The column is converted as a whole: 20 times as fast as
    record by record.

    Args:
        column: list of struct of key and value, as Spark's Kafka source gives it; null means no headers.
        limit: `ingest.max_headers`.

    Returns:
        the headers of each record, and the number of omitted headers of each record.
    """
    counts = column.value_lengths().fill_null(0).to_pylist()
    omitted = [0] * len(counts)
    flat = column.flatten()  # only the values of this slice and of its non-null lists
    if max(counts, default=0) > limit:
        flat = flat.take(pa.array(_kept_indices(flat.field("key"), counts, limit), pa.int64()))
        omitted = [max(count - limit, 0) for count in counts]
        counts = [min(count, limit) for count in counts]
    pairs = list(zip(flat.field("key").to_pylist(), flat.field("value").to_pylist(), strict=True))
    ends = accumulate(counts)
    return [pairs[end - count : end] for end, count in zip(ends, counts, strict=True)], omitted


def _kept_indices(names: pa.Array, counts: Sequence[int], limit: int) -> Iterator[int]:
    """Indices of the headers that are kept, over all records."""
    for start, count in zip(accumulate(counts, initial=0), counts, strict=False):
        if count <= limit:
            yield from range(start, start + count)
        else:
            yield from (start + index for index in _kept_of_record(names.slice(start, count), limit))


def _kept_of_record(names: pa.Array, limit: int) -> list[int]:
    """Indices of the kept headers of a record: first the contract's, at most two of a name, then others."""
    # An erasure needs the contract's headers: they name the user. Two of a name show that it was repeated.
    known = [
        index for name in KNOWN_HEADERS for index in pc.indices_nonzero(pc.equal(names, name))[:2].to_pylist()
    ]
    return sorted(list(dict.fromkeys([*known, *range(limit)]))[:limit])
