"""Arrow batches are joined to fill a GPU; without Spark."""

from collections.abc import Iterator

import pyarrow as pa

from models.inference.batch_inference import ARROW_BYTES, _fill


def batches(sizes: list[int], picture: int) -> Iterator[pa.RecordBatch]:
    for size in sizes:
        yield pa.record_batch({"name": ["a"] * size, "picture": [bytes(picture)] * size})


def rows(sizes: list[int], wanted: int, picture: int = 10) -> list[int]:
    return [batch.num_rows for batch in _fill(batches(sizes, picture), wanted)]


def test_batches_are_joined_until_they_have_the_rows_of_a_prediction() -> None:
    assert rows([64, 64, 64, 64, 10], 64) == [64, 64, 64, 64, 10]
    assert rows([64, 64, 64, 64, 10], 128) == [128, 128, 10]
    assert rows([64, 64, 64], 1000) == [192]
    assert rows([], 1000) == []


def test_joined_batches_have_at_most_the_bytes_of_one() -> None:
    assert rows([4, 4, 4], 1000, ARROW_BYTES // 10) == [8, 4]
    assert rows([12, 4], 1000, ARROW_BYTES // 10) == [12, 4]  # one that is too large stays as it is
