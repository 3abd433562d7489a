"""When Python workers of Spark look for garbage."""

import gc
from collections.abc import Iterator
from weakref import ref

import pyarrow as pa
import pytest

from conf import settings
from lake.spark import python_workers
from streaming.contract.rules import Rules
from streaming.isolate.arrow_batches import inspected

_HEADER = pa.struct([("key", pa.string()), ("value", pa.binary())])
_RECORDS = pa.schema({
    "topic": pa.string(), "partition": pa.int32(), "offset": pa.int64(),
    "timestamp": pa.timestamp("us", "UTC"), "key": pa.binary(), "value": pa.binary(),
    "headers": pa.list_(_HEADER),
})  # fmt: skip


def _without_decoder() -> Rules:
    ours = settings.load()
    inside = ours.decoding.model_copy(update={"isolated": False})
    return Rules.of(ours.model_copy(update={"decoding": inside}))


class _Knot:
    """Something that refers to itself, as an exception does that is kept where it was caught."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def unsettled() -> Iterator[None]:
    python_workers.freeze_gc.cache_clear()
    yield
    gc.unfreeze()
    python_workers.freeze_gc.cache_clear()


def test_what_the_first_batch_has_loaded_stays_out_of_the_collections_that_follow() -> None:
    before = gc.get_freeze_count()
    with python_workers.gc_after_batch():
        pass
    # The modules alone are some ten thousand objects.
    assert gc.get_freeze_count() > before + 10_000
    with python_workers.gc_after_batch():
        pass
    assert len(gc.get_objects()) < 1_000


def test_ingestion_settles_its_workers() -> None:
    before = gc.get_freeze_count()
    batch = pa.RecordBatch.from_pylist([{"topic": "images", "partition": 0, "offset": 7}], schema=_RECORDS)
    (rows,) = inspected(_without_decoder())(iter([batch]))
    assert rows["reason"].to_pylist() == ["missing_header"]
    assert gc.get_freeze_count() > before + 10_000


def test_rows_that_are_in_use_are_not_looked_through() -> None:
    with python_workers.gc_after_batch():
        begun = [generation["collections"] for generation in gc.get_stats()]
        assert len([{"number": number} for number in range(50_000)]) == 50_000
        assert [generation["collections"] for generation in gc.get_stats()] == begun


@pytest.mark.parametrize("batches", [1, 3])
def test_what_a_batch_leaves_behind_is_gone_before_the_next(batches: int) -> None:
    for _ in range(batches):
        with python_workers.gc_after_batch():
            left = ref(_Knot())
            assert left() is not None
        assert left() is None


def test_garbage_is_collected_again_after_a_batch_that_failed() -> None:
    with pytest.raises(OSError, match="lost"), python_workers.gc_after_batch():
        raise OSError("lost")
    assert gc.isenabled()
