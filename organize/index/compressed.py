"""The compressed index of a sealed segment: candidates from cells of short codes, ranked by their vectors.

Vectors are projected to the 128 directions in which they differ most (PCA) and stored with 8 bits a number,
in cells around k-means centres (faiss: IVF with a scalar quantizer). A search looks into the nearest cells
only. Its candidates are then ranked by their cosines, from the vectors in the segment's file.

Sources: Jégou, Douze, Schmid 2011, "Product quantization for nearest neighbor search", section 4 (IVF);
https://github.com/facebookresearch/faiss.
"""

import ctypes
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from organize.features.vectors import STORED, Vectors
from organize.index.row_file import opened, read_rows

DIRECTIONS = 128
PROBES = 96  # cells that a search looks into
CANDIDATES = 40  # that are ranked by their vectors, at least
_TRAINING_ROWS_PER_CELL = 40
_PCA_ROWS = 8192
_ITERATIONS = 6  # of k-means
_BLOCK_ROWS = 2048  # vectors that are read at once: at 1,280 numbers 16 MB
_RANKED_QUERIES = 64  # whose candidates are in memory at once (13 MB)
_SEED = 7


def cells_for(rows: int) -> int:
    """The number of cells of a segment: a power of two, about 4 times the root of its rows."""
    return int(2 ** np.round(np.log2(4 * np.sqrt(max(rows, 64)))))


def build(vector_file: Path, shape: tuple[int, int], file: Path) -> None:
    """Build the compressed index of vectors and write it to a file.

    Args:
        vector_file: of a segment: float16, little-endian.
        shape: (rows, size) of the vectors.
        file: that is written.
    """
    # Threads of OpenBLAS spin while they wait for each other: beside other processes the eigenvectors of
    # 1,280 numbers then take a minute in place of a second.
    with opened(vector_file) as descriptor, threadpool_limits(1, "blas"):
        _build(descriptor, shape, file)
    # The lists are small blocks. Their memory, 136 MB of a million vectors, would stay with the C library.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of glibc
        trim(0)


def _build(descriptor: int, shape: tuple[int, int], file: Path) -> None:
    rows, size = shape
    pca, ivf = _trained(descriptor, rows, size)
    projected = (pca.apply(block) for block in _blocks(descriptor, np.arange(rows), size))
    _add_all(ivf, projected, file.parent)
    faiss.write_index(faiss.IndexPreTransform(pca, ivf), str(file))


def _trained(descriptor: int, rows: int, size: int) -> tuple[faiss.PCAMatrix, faiss.IndexIVFScalarQuantizer]:
    """The projection and the cells, without rows."""
    cells = cells_for(rows)
    random = np.random.default_rng(_SEED)
    pca = faiss.PCAMatrix(size, min(DIRECTIONS, size))
    chosen = np.sort(random.choice(rows, min(rows, _PCA_ROWS), replace=False))
    pca.train(_filled(np.empty((len(chosen), size), np.float32), _blocks(descriptor, chosen, size)))
    quantizer = faiss.IndexFlatL2(pca.d_out)
    # By distance: PCA moves the origin, which changes dot products. Of unit vectors the order is the same.
    ivf = faiss.IndexIVFScalarQuantizer(quantizer, pca.d_out, cells, faiss.ScalarQuantizer.QT_8bit)
    ivf.cp.niter, ivf.cp.seed, ivf.cp.max_points_per_centroid = _ITERATIONS, _SEED, _TRAINING_ROWS_PER_CELL
    chosen = np.sort(random.choice(rows, min(rows, cells * _TRAINING_ROWS_PER_CELL), replace=False))
    projected = (pca.apply(block) for block in _blocks(descriptor, chosen, size))
    ivf.train(_filled(np.empty((len(chosen), pca.d_out), np.float32), projected))
    return pca, ivf


def _add_all(ivf: faiss.IndexIVFScalarQuantizer, projected: Iterable[Vectors], folder: Path) -> None:
    """Add all rows, as `ivf.add` does, but to each list all of its rows at once.

    Lists that grow double their room whenever it is used up, which takes up to twice the memory. The codes
    wait in a file without a name, of which nothing is left when the process is killed.
    """
    with TemporaryFile(dir=folder) as file:
        parts: list[NDArray[np.int64]] = []
        for block in projected:
            parts.append(ivf.quantizer.search(block, 1)[1][:, 0])
            codes = np.empty((len(block), ivf.code_size), np.uint8)
            pointers = (faiss.swig_ptr(array) for array in (block, parts[-1], codes))
            ivf.encode_vectors(len(block), *pointers)
            file.write(codes.data)
        file.flush()
        cells = np.concatenate(parts)
        ordered = np.argsort(cells, kind="stable")  # by cell, then by number
        ends = np.cumsum(np.bincount(cells, minlength=ivf.nlist))
        for cell, rows in enumerate(np.split(ordered, ends[:-1])):
            codes = read_rows(file.fileno(), rows, ivf.code_size, np.dtype(np.uint8))
            pointers = (faiss.swig_ptr(array) for array in (rows, codes))
            ivf.invlists.add_entries(cell, len(rows), *pointers)  # type: ignore[union-attr]
        ivf.ntotal = len(ordered)


def _filled(rows: Vectors, blocks: Iterable[Vectors]) -> Vectors:
    """The rows, filled with blocks: a list of all blocks would take the memory twice."""
    first = 0
    for block in blocks:
        rows[first : first + len(block)] = block
        first += len(block)
    return rows


def _blocks(descriptor: int, rows: NDArray[np.int64], size: int) -> Iterator[Vectors]:
    """Rows of a vector file as float32, a block at a time."""
    for first in range(0, len(rows), _BLOCK_ROWS):
        yield read_rows(descriptor, rows[first : first + _BLOCK_ROWS], size, STORED).astype(np.float32)


class CompressedIndex:
    """A compressed index, mapped into memory.

    Args:
        file: that `build` has written.
    """

    def __init__(self, file: Path) -> None:
        self._index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        faiss.extract_index_ivf(self._index).nprobe = PROBES

    def search(self, queries: Vectors, vector_file: Path, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """The nearest rows: cosines (n, k) and row numbers (n, k); -2 and -1 where there is none.

        Args:
            queries: float32 (n, size), of length 1.
            vector_file: of the segment; its rows are read one by one, so that few pages are in memory.
            k: number of rows.
        """
        wanted = max(CANDIDATES, 3 * k)
        _, found = self._index.search(queries, wanted)
        cosines = np.full((len(queries), k), -2.0, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        with opened(vector_file) as descriptor:
            for first in range(0, len(queries), _RANKED_QUERIES):
                part = slice(first, first + _RANKED_QUERIES)
                cosines[part], rows[part] = _ranked(queries[part], found[part], descriptor, k)
        return cosines, rows


def remove(file: Path, rows: NDArray[np.int64]) -> None:
    """Remove rows from a compressed index; the others keep their numbers."""
    index = faiss.read_index(str(file))
    faiss.extract_index_ivf(index).remove_ids(rows.astype(np.int64))  # type: ignore[arg-type]
    draft = file.with_suffix(".draft")
    faiss.write_index(index, str(draft))
    draft.replace(file)


def _ranked(
    queries: Vectors, found: NDArray[np.int64], descriptor: int, k: int
) -> tuple[Vectors, NDArray[np.int64]]:
    """The k of the found rows with the greatest cosines, the greatest first."""
    unique, places = np.unique(found, return_inverse=True)
    wide = read_rows(descriptor, unique, queries.shape[1], STORED).astype(np.float32)
    places = places.reshape(found.shape)
    cosines = np.stack([wide[at] @ query for at, query in zip(places, queries, strict=True)])
    cosines[found < 0] = -2
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosines, order, 1), np.take_along_axis(found, order, 1)
