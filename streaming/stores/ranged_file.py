"""An S3 object as a seekable file: HTTP range requests with read-ahead, no local copy."""

import io
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, cast

from streaming.errors import NoSuchObject, ObjectChanged
from streaming.stores.objects import ObjectStore, ObjectSummary

_BLOCK_BYTES = 4 << 20  # of one request
_BLOCKS_AHEAD = 2  # requested before they are read
_BLOCKS_KEPT = 4  # in memory, pending requests included


class RangedFile(io.RawIOBase):
    """Reads an object in blocks; while it is read sequentially, the next blocks are prefetched.

    Reading raises `OSError`, as a failing disk does, if the object was deleted or changed since the listing.
    It raises `ObjectError` if the store refuses a request or does not answer.

    Args:
        store: the object store.
        summary: the object; each request requires its etag.
    """

    def __init__(self, store: ObjectStore, summary: ObjectSummary) -> None:
        super().__init__()
        self._store = store
        self._summary = summary
        self._position = 0
        self._last_block = -1
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(_BLOCKS_AHEAD, "ranged")

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """The position, in bytes from the beginning."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position; sends no request."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._summary.size}
        position = origins[whence] + offset
        if position < 0:
            raise OSError(f"{self._summary}: cannot seek to the negative position {position}")
        self._position = position
        return position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # callers pass only these
        """Fill a buffer from the position on, at most to the end of a block."""
        if self._position >= self._summary.size:
            return 0
        number, offset = divmod(self._position, _BLOCK_BYTES)
        content = self._read_block(number)[offset : offset + len(buffer)]
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        """Drop all blocks and cancel pending requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._blocks.clear()
        super().close()

    def _read_block(self, number: int) -> bytes:
        self._request(number)
        block = self._blocks[number]
        if number in {self._last_block, self._last_block + 1}:
            for following in range(number + 1, number + 1 + _BLOCKS_AHEAD):
                self._request(following)
        self._last_block = number
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)[1].cancel()
        try:
            return block.result()
        except (NoSuchObject, ObjectChanged) as error:
            raise OSError(str(error)) from None

    def _request(self, number: int) -> None:
        start = number * _BLOCK_BYTES
        if number in self._blocks:
            self._blocks.move_to_end(number)
        elif start < self._summary.size:
            size = min(_BLOCK_BYTES, self._summary.size - start)
            self._blocks[number] = self._pool.submit(self._store.read_range, self._summary, start, size)


def open_object(store: ObjectStore, summary: ObjectSummary) -> IO[bytes]:
    """Open an object as a buffered file."""
    return cast("IO[bytes]", io.BufferedReader(RangedFile(store, summary), 1 << 16))
