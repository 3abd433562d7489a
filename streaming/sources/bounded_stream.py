"""A forward-only stream with a byte budget, for tarfile."""

from typing import IO

_SKIP_BYTES = 1 << 20  # skipped in one read
_HEADER_LIMIT = 1 << 20  # bytes of an extended header
_CHECK_BYTES = 1 << 16  # read at once to find out what follows


class UnpackedTooLarge(Exception):
    """An archive unpacks to more bytes than its compressed size allows."""


class BoundedStream:
    """The file interface that tarfile needs, on a stream that only moves forward; counts the bytes unpacked.

    Args:
        file: the stream.
        budget: maximum bytes to read from it in total.
        size: of a stream that is not compressed, in bytes: what is skipped is then not read.
    """

    def __init__(self, file: IO[bytes], budget: int, size: int | None = None) -> None:
        self._file = file
        self._budget = budget
        self._size = size
        self._position = 0
        self.last_header = b""  # the header block read last

    def tell(self) -> int:
        """The position, in bytes from the beginning."""
        return self._position

    def read(self, size: int) -> bytes:
        """Read a header.

        Raises:
            UnpackedTooLarge: the header is too large, or the budget is exceeded.
        """
        if not 0 <= size <= _HEADER_LIMIT:
            raise UnpackedTooLarge
        self.last_header = self._read(size)
        return self.last_header

    def seek(self, position: int) -> int:
        """Skip forward.

        Raises:
            OSError: the position is backwards, as in a hostile header, or beyond the end.
            UnpackedTooLarge: the budget is exceeded.
        """
        if position < self._position:
            raise OSError("a header points backwards")
        if self._size is not None and position > self._position:
            if position > self._size:
                raise OSError("ends too early")
            self._position = self._file.seek(position)
        while self._position < position:
            if not self._read(min(_SKIP_BYTES, position - self._position)):
                raise OSError("ends too early")
        return position

    def read_member(self, position: int, size: int) -> bytes:
        """Read a member's content.

        Raises:
            OSError: the stream ends before the member does.
            UnpackedTooLarge: the budget is exceeded.
        """
        self.seek(position)
        content = self._read(size)
        if len(content) < size:
            raise OSError("ends too early")
        return content

    def has_more(self) -> bool:
        """Whether anything but zeros follows; reads to the end.

        Raises:
            UnpackedTooLarge: the budget is exceeded.
        """
        return any(chunk.strip(b"\0") for chunk in iter(lambda: self._read(_CHECK_BYTES), b""))

    def _read(self, size: int) -> bytes:
        if self._position + size > self._budget:
            raise UnpackedTooLarge
        content = self._file.read(size)
        self._position += len(content)
        return content
