"""Pixels in memory that the processes of the input pipeline share."""

import mmap
import os
import weakref
from math import prod

import numpy as np
from numpy.typing import NDArray


class SharedPixels:
    """A uint8 array in anonymous shared memory (memfd): another process opens it by its descriptor.

    The memory is freed when the last process has closed it, however that ends.

    Args:
        shape: of the array.
        descriptor: of the memory, inherited from the process that created it; None creates it.

    Attributes:
        array: uint8, of this shape.
    """

    def __init__(self, shape: tuple[int, ...], descriptor: int | None = None) -> None:
        size = max(1, prod(shape))
        if descriptor is None:
            descriptor = os.memfd_create("hub-pixels", os.MFD_CLOEXEC)
            os.truncate(descriptor, size)
        self.shape, self.descriptor = shape, descriptor
        # The array keeps the mapping; a descriptor can be closed before it.
        self.array: NDArray[np.uint8] = np.frombuffer(
            mmap.mmap(descriptor, size), np.uint8, prod(shape)
        ).reshape(shape)
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def copy_of(cls, array: NDArray[np.uint8]) -> "SharedPixels":
        """Copy an array into new shared memory."""
        shared = cls(array.shape)
        shared.array[:] = array
        return shared
