"""A stream that is read front to back within a budget."""

from typing import IO

_STEP = 1 << 20  # bytes that are skipped at once
_HEADER_BYTES = 1 << 20  # the largest extended header that is read


class UnpackedTooLarge(Exception):
    """An archive holds more than its packed size makes credible."""


class BoundedStream:
    """What tarfile needs of a file, on a stream that cannot go back; counts what is really unpacked.

    Args:
        file: the stream.
        budget: bytes that may be read of it in all.
    """

    def __init__(self, file: IO[bytes], budget: int) -> None:
        self._file = file
        self._budget = budget
        self._position = 0
        self.last = b""  # the last header block that was read

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self._position

    def read(self, size: int) -> bytes:
        """Read a header.

        Raises:
            Explodes: the header or the whole is absurdly large.
        """
        if not 0 <= size <= _HEADER_BYTES:
            raise UnpackedTooLarge
        self.last = self._read(size)
        return self.last

    def seek(self, position: int) -> int:
        """Skip forward.

        Raises:
            OSError: it lies behind, as a hostile header may say, or beyond the end.
            Explodes: the whole is absurdly large.
        """
        if position < self._position:
            raise OSError("a header points backwards")
        while self._position < position:
            if not self._read(min(_STEP, position - self._position)):
                raise OSError("ends too early")
        return position

    def take(self, position: int, size: int) -> bytes:
        """Read a member.

        Raises:
            OSError: the stream ends before it does.
            Explodes: the whole is absurdly large.
        """
        self.seek(position)
        content = self._read(size)
        if len(content) < size:
            raise OSError("ends too early")
        return content

    def _read(self, size: int) -> bytes:
        if self._position + size > self._budget:
            raise UnpackedTooLarge
        content = self._file.read(size)
        self._position += len(content)
        return content
