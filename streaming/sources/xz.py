"""What xz has packed, unpacked in bounded memory."""

import io
import lzma
from collections.abc import Iterator
from typing import IO, cast

from streaming.sources.bounded_stream import UnpackedTooLarge

# Unpacking takes the dictionary that a header names, up to 4 GiB. `xz -9` needs 65 MiB.
MEMORY = 256 << 20
_STEP = 1 << 16  # bytes that are read, and unpacked, at once


class TakesMemory(UnpackedTooLarge):
    """An xz file needs more memory than it gets."""


class Unpacked(io.RawIOBase):
    """An xz file's content, front to back; LZMAFile sets no bound to the memory.

    Args:
        file: the packed file, at its beginning.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._pieces = _pieces(file)
        self._piece = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what callers give
        """Fill a buffer, up to the end of a piece.

        Raises:
            TakesMemory: a dictionary is too large.
            LZMAError: the file is damaged.
            EOFError: it ends too early.
        """
        try:
            self._piece = self._piece or next(self._pieces, b"")
        except lzma.LZMAError as error:
            if str(error) == "Memory usage limit exceeded":  # all that tells it from damage
                raise TakesMemory from None
            raise
        content = self._piece[: len(buffer)]
        self._piece = self._piece[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)


def opened(file: IO[bytes]) -> IO[bytes]:
    """The content as a buffered file."""
    return cast("IO[bytes]", io.BufferedReader(Unpacked(file), _STEP))


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The content of all streams of a file, never an empty piece; zeros may pad a stream."""
    packed = file.read(_STEP)
    while packed:
        stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MEMORY)
        while not stream.eof:
            if piece := stream.decompress(packed, _STEP):
                yield piece
            packed = file.read(_STEP) if stream.needs_input else b""
            if stream.needs_input and not packed:
                raise EOFError("ends too early")
        packed = stream.unused_data.lstrip(b"\0")
        while not packed and (more := file.read(_STEP)):
            packed = more.lstrip(b"\0")
