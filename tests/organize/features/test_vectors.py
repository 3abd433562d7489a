"""Vectors as the table stores them."""

import numpy as np
import pyarrow as pa
import pytest

from organize.errors import UnusableVectors
from organize.features import vectors


def test_vectors_are_stored_as_float16_and_read_back() -> None:
    made = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    column = vectors.to_column(made)
    assert column[0].as_py() == made[0].astype("<f2").tobytes()
    for stored in (column, pa.chunked_array([column[:2], column[2:]]), column.to_pylist()):
        read = vectors.to_vectors(stored)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, made.astype("<f2"))
    np.testing.assert_array_equal(vectors.to_vectors(column[1:4]), made[1:4].astype("<f2"))


def test_no_rows_are_no_vectors() -> None:
    assert vectors.to_vectors(pa.chunked_array([], pa.binary())).shape == (0, 0)
    assert vectors.to_vectors([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ([b"\0" * 8, b"\0" * 16], "8 bytes, 16 bytes"),
        ([b"\0" * 7], "7 bytes"),
        (pa.array([b"\0" * 8, None], pa.binary()), "1 of 2 vectors are null"),
        (pa.chunked_array([[b"\0" * 8], [b"\0" * 4]], pa.binary()), "4 bytes, 8 bytes"),
    ],
)
def test_vectors_of_two_models_are_refused(stored: pa.Array, why: str) -> None:
    with pytest.raises(UnusableVectors, match=why):
        vectors.to_vectors(stored)


def test_unit_vectors_have_length_1_and_zeros_stay() -> None:
    unit = vectors.to_unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    np.testing.assert_allclose(unit, np.array([[0.6, 0.8], [0, 0]], np.float32))
