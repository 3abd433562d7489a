"""Files of rows of one length, read row by row.

Of a mapped file the kernel maps hundreds of kilobytes around each row, which count as the process's memory.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def opened(file: Path) -> Iterator[int]:
    """The descriptor of a file that is read, closed at the end."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_rows(descriptor: int, rows: NDArray[np.int64], size: int, number: np.dtype[Any]) -> NDArray[Any]:
    """Rows of a file, (n, size), with zeros where a row is -1.

    Args:
        descriptor: of the file.
        rows: numbers of the rows, (n,).
        size: numbers of a row.
        number: type of a number.
    """
    read = np.zeros((len(rows), size), number)
    for values, row in zip(read, rows.tolist(), strict=True):
        if row >= 0:
            os.preadv(descriptor, [values], row * values.nbytes)
    return read
