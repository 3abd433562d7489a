"""The compressed index of a sealed segment, built from a file of vectors."""

import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from organize.features.vectors import STORED, Vectors, to_unit
from organize.index import compressed

SIZE = 24

KILLED = """
import os, signal, sys
from pathlib import Path
import faiss
from organize.index import compressed

compressed._BLOCK_ROWS = 500
encode = faiss.IndexIVFScalarQuantizer.encode_vectors
def encode_once(*arguments):
    encode(*arguments)
    faiss.IndexIVFScalarQuantizer.encode_vectors = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
faiss.IndexIVFScalarQuantizer.encode_vectors = encode_once
compressed.build(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3])), Path(sys.argv[4]))
"""


def stored(folder: Path, distinct: int, rows: int) -> tuple[Path, Vectors]:
    """A file of vectors, of which some are different, and what it holds."""
    random = np.random.default_rng(5)
    vectors = to_unit(random.normal(size=(distinct, SIZE)))[np.arange(rows) % distinct].astype(STORED)
    file = folder / "000001.vectors"
    file.write_bytes(vectors.tobytes())
    return file, vectors.astype(np.float32)


@pytest.mark.parametrize("distinct", [5000, 3])
def test_the_file_is_what_faiss_writes_when_it_adds_the_rows_itself(tmp_path: Path, distinct: int) -> None:
    vector_file, vectors = stored(tmp_path, distinct, 5000)
    file, plain = tmp_path / "000001.faiss", tmp_path / "plain.faiss"
    compressed.build(vector_file, vectors.shape, file)
    index = faiss.read_index(str(file))
    assert index.ntotal == 5000
    index.reset()
    with threadpool_limits(1, "blas"):  # products of other blocks, or by more threads, are rounded otherwise
        for first in range(0, 5000, compressed._BLOCK_ROWS):
            index.add(vectors[first : first + compressed._BLOCK_ROWS])
    faiss.write_index(index, str(plain))
    assert file.read_bytes() == plain.read_bytes()


def test_the_same_vectors_give_the_same_file_and_no_other(tmp_path: Path) -> None:
    vector_file, vectors = stored(tmp_path, 5000, 5000)
    first, second = tmp_path / "000001.faiss", tmp_path / "000002.faiss"
    compressed.build(vector_file, vectors.shape, first)
    compressed.build(vector_file, vectors.shape, second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, vector_file, second]


def test_each_vector_finds_itself(tmp_path: Path) -> None:
    vector_file, vectors = stored(tmp_path, 5000, 5000)
    compressed.build(vector_file, vectors.shape, tmp_path / "000001.faiss")
    cosines, rows = compressed.CompressedIndex(tmp_path / "000001.faiss").search(vectors, vector_file, 2)
    assert rows[:, 0].tolist() == list(range(5000))
    np.testing.assert_allclose(cosines[:, 0], 1, atol=2e-3)


def test_a_build_that_is_killed_leaves_no_file(tmp_path: Path) -> None:
    vector_file, vectors = stored(tmp_path, 2000, 2000)
    rows, size = map(str, vectors.shape)
    command = [sys.executable, "-c", KILLED, str(vector_file), rows, size, str(tmp_path / "000001.faiss")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    assert list(tmp_path.iterdir()) == [vector_file]
