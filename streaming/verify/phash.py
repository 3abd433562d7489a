"""Perceptual hash (pHash): similar pictures have hashes that differ in few bits."""

import cv2
import numpy as np
from numpy.typing import NDArray

# The 8 lowest of 32 orthonormal DCT-II frequencies; only these are needed. The values are multiples of 2^-16,
# so every sum is exact. Otherwise the rounding of each processor and library would decide the sign of
# frequencies that are 0 in a picture, and so some bits of the hash.
_BASIS = np.cos(np.pi / 64 * np.outer(np.arange(8), 2 * np.arange(32) + 1)) / 4
_BASIS[0] /= np.sqrt(2)
_BASIS = np.round(_BASIS * 2**16) / 2**16
_BASIS_TRANSPOSED = np.ascontiguousarray(_BASIS.T)


def phash(gray: NDArray[np.uint8]) -> int:
    """64-bit pHash: which of the 64 lowest DCT frequencies lie above their median.

    Source: Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, section 3.2.1.

    Args:
        gray: luma, uint8 (h, w).

    Returns:
        a signed 64-bit integer, for Delta's BIGINT; the top left frequency is the highest bit. It is the
        same on every processor.
    """
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    low = (_BASIS @ small @ _BASIS_TRANSPOSED).ravel()
    # The first coefficient is the mean brightness; it is excluded because it would shift the median.
    bits = np.packbits(low > np.sort(low[1:])[31])
    return int.from_bytes(bits.tobytes(), "big", signed=True)
