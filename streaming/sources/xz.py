"""Decompress xz files with a memory limit."""

import io
import lzma
from collections.abc import Iterator
from typing import IO, cast

from streaming.sources.bounded_stream import UnpackedTooLarge

# Decompression allocates the dictionary size from the header, up to 4 GiB. `xz -9` needs 65 MiB.
MEMORY_LIMIT = 256 << 20
_CHUNK_BYTES = 1 << 16  # read, and decompressed, at once


class XzMemoryExceeded(UnpackedTooLarge):
    """Decompressing an xz file needs more memory than `MEMORY_LIMIT`."""


class XzReader(io.RawIOBase):
    """Reads the content of an xz file sequentially. `lzma.LZMAFile` has no memory limit.

    Args:
        file: the compressed file, at position 0.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._chunks = _decompress(file)
        self._chunk = b""

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # callers pass only these
        """Fill a buffer, at most to the end of a chunk.

        Raises:
            XzMemoryExceeded: a dictionary is too large.
            LZMAError: the file is damaged.
            EOFError: it ends too early.
        """
        try:
            self._chunk = self._chunk or next(self._chunks, b"")
        except lzma.LZMAError as error:
            if str(error) == "Memory usage limit exceeded":  # only the text distinguishes it from damage
                raise XzMemoryExceeded from None
            raise
        content = self._chunk[: len(buffer)]
        self._chunk = self._chunk[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)


def open_xz(file: IO[bytes]) -> IO[bytes]:
    """Open the decompressed content as a buffered file."""
    return cast("IO[bytes]", io.BufferedReader(XzReader(file), _CHUNK_BYTES))


def _decompress(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of all streams in non-empty chunks. Zeros may follow a stream as padding."""
    packed = file.read(_CHUNK_BYTES)
    while packed:
        stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)
        while not stream.eof:
            if chunk := stream.decompress(packed, _CHUNK_BYTES):
                yield chunk
            packed = file.read(_CHUNK_BYTES) if stream.needs_input else b""
            if stream.needs_input and not packed:
                raise EOFError("ends too early")
        packed = stream.unused_data.lstrip(b"\0")
        while not packed and (more := file.read(_CHUNK_BYTES)):
            packed = more.lstrip(b"\0")
