"""When Python workers of Spark collect garbage."""

import gc
from collections.abc import Iterator
from weakref import ref

import pyarrow as pa
import pytest

from conf import settings
from lake.spark import python_workers
from streaming.contract.rules import Rules
from streaming.isolate.arrow_batches import make_batch_verifier

_HEADER = pa.struct([("key", pa.string()), ("value", pa.binary())])
_RECORDS = pa.schema({
    "topic": pa.string(), "partition": pa.int32(), "offset": pa.int64(),
    "timestamp": pa.timestamp("us", "UTC"), "key": pa.binary(), "value": pa.binary(),
    "headers": pa.list_(_HEADER),
})  # fmt: skip


def _rules_without_decoder_process() -> Rules:
    loaded = settings.load()
    decoding = loaded.decoding.model_copy(update={"isolated": False})
    return Rules.of(loaded.model_copy(update={"decoding": decoding}))


class _Cycle:
    """An object that refers to itself, like an exception that is stored where it was caught."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    python_workers.freeze_gc.cache_clear()
    yield
    gc.unfreeze()
    python_workers.freeze_gc.cache_clear()


def test_objects_that_the_first_batch_has_loaded_are_excluded_from_later_collections() -> None:
    before = gc.get_freeze_count()
    with python_workers.gc_after_batch():
        pass
    # Modules alone are more than ten thousand objects.
    assert gc.get_freeze_count() > before + 10_000
    with python_workers.gc_after_batch():
        pass
    assert len(gc.get_objects()) < 1_000


def test_ingestion_freezes_the_garbage_collector_of_its_workers() -> None:
    before = gc.get_freeze_count()
    batch = pa.RecordBatch.from_pylist([{"topic": "images", "partition": 0, "offset": 7}], schema=_RECORDS)
    (rows,) = make_batch_verifier(_rules_without_decoder_process())(iter([batch]))
    assert rows["reason"].to_pylist() == ["missing_header"]
    assert gc.get_freeze_count() > before + 10_000


def test_no_garbage_is_collected_during_a_batch() -> None:
    with python_workers.gc_after_batch():
        begun = [generation["collections"] for generation in gc.get_stats()]
        assert len([{"number": number} for number in range(50_000)]) == 50_000
        assert [generation["collections"] for generation in gc.get_stats()] == begun


@pytest.mark.parametrize("batches", [1, 3])
def test_garbage_of_a_batch_is_collected_before_the_next(batches: int) -> None:
    for _ in range(batches):
        with python_workers.gc_after_batch():
            garbage = ref(_Cycle())
            assert garbage() is not None
        assert garbage() is None


def test_garbage_collection_is_enabled_again_after_a_failed_batch() -> None:
    with pytest.raises(OSError, match="lost"), python_workers.gc_after_batch():
        raise OSError("lost")
    assert gc.isenabled()
