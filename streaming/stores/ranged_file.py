"""An object as a file that can be read anywhere, in ranged requests and without a local copy."""

import io
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, cast

from streaming.errors import NoSuchObject, ObjectChanged
from streaming.stores.objects import Entry, Objects

_BLOCK = 4 << 20  # bytes of a request
_AHEAD = 2  # blocks that are asked for before they are read
_KEPT = 4  # blocks in memory, those on their way included


class RangedFile(io.RawIOBase):
    """Reads an object in blocks; where they are read one after another, the next ones are on their way.

    An object that goes or changes meanwhile is an `OSError`, as a failing disk is. A store that refuses or
    does not answer is an `ObjectError`.

    Args:
        objects: the store.
        entry: the object; each request asks for the one with its etag.
    """

    def __init__(self, objects: Objects, entry: Entry) -> None:
        super().__init__()
        self._objects = objects
        self._entry = entry
        self._position = 0
        self._last = -1
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(_AHEAD, "ranged")

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; costs nothing."""
        begins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._entry.size}
        position = begins[whence] + offset
        if position < 0:
            raise OSError(f"{self._entry}: there is no position {position}")
        self._position = position
        return position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what callers give
        """Fill a buffer from the position on, up to the end of a block."""
        if self._position >= self._entry.size:
            return 0
        number, offset = divmod(self._position, _BLOCK)
        content = self._block(number)[offset : offset + len(buffer)]
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        """Drop what was read and what is on its way."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._blocks.clear()
        super().close()

    def _block(self, number: int) -> bytes:
        self._begin(number)
        wanted = self._blocks[number]
        if number in {self._last, self._last + 1}:
            for following in range(number + 1, number + 1 + _AHEAD):
                self._begin(following)
        self._last = number
        while len(self._blocks) > _KEPT:
            self._blocks.popitem(last=False)[1].cancel()
        try:
            return wanted.result()
        except (NoSuchObject, ObjectChanged) as error:
            raise OSError(str(error)) from None

    def _begin(self, number: int) -> None:
        start = number * _BLOCK
        if number in self._blocks:
            self._blocks.move_to_end(number)
        elif start < self._entry.size:
            size = min(_BLOCK, self._entry.size - start)
            self._blocks[number] = self._pool.submit(self._objects.part, self._entry, start, size)


def opened(objects: Objects, entry: Entry) -> IO[bytes]:
    """The object as a buffered file."""
    return cast("IO[bytes]", io.BufferedReader(RangedFile(objects, entry), 1 << 16))
