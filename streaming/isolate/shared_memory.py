"""Memory that a Python worker and its decoder share: pictures go in, verdicts come out.

A decoder works on strangers' bytes, so nothing that it writes is trusted: numbers are bounded before they are
used, and results are fixed structures, never pickles.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from conf.sections import Ingest
from streaming.contract.verdict import Flag, Reason, Rejected
from streaming.verify.file_checks import Format
from streaming.verify.prepared import Outcome, Prepared
from streaming.verify.quality import Metrics

Buffer = bytes | memoryview

_INPUT_BYTES = 16 << 20
_OUTPUT_BYTES = 8 << 20
# Of its size: reading what a decoder had cut off would kill the worker, what it added would fill the machine.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_HEAD = struct.Struct("<QQQ")  # task, results written, pictures begun
_COUNT = struct.Struct("<Q")
_WRITTEN, _BEGUN = _COUNT.size, 2 * _COUNT.size  # where in the head
_LENGTH = struct.Struct("<I")
_REJECTED = struct.Struct("<BB")  # 0, reason
# 1, format, width, height, phash, flags, metrics, taken_at, lengths of JPEG and thumbnail
_ACCEPTED = struct.Struct("<BBIIqI5fdII")
_FORMATS, _REASONS, _FLAGS = tuple(Format), tuple(Reason), tuple(Flag)
_FORMAT_NUMBERS = {kind: number for number, kind in enumerate(_FORMATS)}
_FLAG_BITS: dict[str, int] = {flag: 1 << number for number, flag in enumerate(_FLAGS)}
_DETAIL_BYTES = 1024


class SharedBuffers:
    """Two pieces of anonymous memory, one for each direction.

    Args:
        descriptors: of the memory, as `descriptors` of the process that made it; None makes it.
        limits: of uploads; the memory holds the largest picture and the largest result.
    """

    def __init__(self, limits: Ingest, descriptors: tuple[int, int] | None = None) -> None:
        # A picture encodes to less than its pixels take; two of them and the fields fit at any quality.
        sizes = max(_INPUT_BYTES, 2 * limits.max_bytes), max(_OUTPUT_BYTES, 12 * limits.longest_side**2)
        self.descriptors = descriptors or (_sealed("hub-in", sizes[0]), _sealed("hub-out", sizes[1]))
        self._input = mmap.mmap(self.descriptors[0], sizes[0])
        self._output = mmap.mmap(self.descriptors[1], sizes[1])
        self._room = sizes[1] - _LENGTH.size - _DETAIL_BYTES - 12 * limits.longest_side**2 // 2

    def close(self) -> None:
        """Give the memory back."""
        self._input.close()
        self._output.close()
        for descriptor in self.descriptors:
            os.close(descriptor)

    def offer(self, task: int, contents: Sequence[Buffer]) -> int:
        """Lay pictures in for the decoder, as many as there is room for.

        Args:
            task: a number that no other offer has.

        Returns:
            how many were laid in, from the first; at least one.
        """
        end = _LENGTH.size
        taken = 0
        for content in contents:
            if taken and end + _LENGTH.size + len(content) > len(self._input):
                break
            _LENGTH.pack_into(self._input, end, len(content))
            self._input[end + _LENGTH.size : end + _LENGTH.size + len(content)] = content
            end += _LENGTH.size + len(content)
            taken += 1
        _LENGTH.pack_into(self._input, 0, taken)
        _HEAD.pack_into(self._output, 0, task, 0, 0)
        return taken

    def contents(self) -> Iterator[bytes]:
        """The pictures on offer."""
        (count,) = _LENGTH.unpack_from(self._input)
        position = _LENGTH.size
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(self._input, position)
            position += _LENGTH.size
            yield self._input[position : position + length]
            position += length

    def begin(self, position: int) -> None:
        """Note that the decoder is at a picture, so that its end can be blamed on it."""
        _COUNT.pack_into(self._output, _BEGUN, position + 1)

    def answer(self, results: int, end: int, outcome: Outcome) -> int:
        """Add a result.

        Args:
            results: that have been written before it.
            end: of the last of them, 0 for none.

        Returns:
            its end.
        """
        end = end or _HEAD.size
        packed = _packed(outcome)
        start = end + _LENGTH.size
        stop = start + len(packed)
        self._output[start:stop] = packed
        _LENGTH.pack_into(self._output, end, len(packed))
        _COUNT.pack_into(self._output, _WRITTEN, results + 1)  # last: what is counted is whole
        return stop

    def has_room(self, end: int) -> bool:
        """Whether the largest result there can be fits behind this end."""
        return end < self._room

    def progress(self, most: int) -> int:
        """Pictures that the decoder has begun, of so many that were laid in."""
        (begun,) = _COUNT.unpack_from(self._output, _BEGUN)
        return min(begun, most)

    def results(self, most: int) -> tuple[list[Outcome], int | None]:
        """What the decoder has answered, and the position of the picture it is at or was at last.

        Args:
            most: pictures that were laid in.

        Raises:
            ValueError: it has written nonsense.
        """
        _, count, begun = _HEAD.unpack_from(self._output)
        if count > most or begun > most:
            raise ValueError(f"{count} results and {begun} pictures begun of {most}")
        found: list[Outcome] = []
        position = _HEAD.size
        for _ in range(count):
            try:
                (length,) = _LENGTH.unpack_from(self._output, position)
                start, position = position + _LENGTH.size, position + _LENGTH.size + length
                found.append(_unpacked(self._output, start, position))
            except (struct.error, IndexError, ValueError, OverflowError, OSError) as error:
                raise ValueError(f"result {len(found)} is none: {error}") from None
        return found, begun - 1 if begun else None


def _sealed(name: str, size: int) -> int:
    """Descriptor of new memory whose size nobody can change."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def _packed(outcome: Outcome) -> bytes:
    if isinstance(outcome, Rejected):
        detail = outcome.detail.encode("utf-8", "replace")[:_DETAIL_BYTES]
        return _REJECTED.pack(0, _REASONS.index(outcome.reason)) + detail
    fields = _ACCEPTED.pack(
        1, _FORMAT_NUMBERS[outcome.format], outcome.width, outcome.height, outcome.phash,
        sum(map(_FLAG_BITS.__getitem__, outcome.flags)), *outcome.metrics,
        outcome.taken_at.timestamp() if outcome.taken_at else float("nan"),
        len(outcome.jpeg), len(outcome.thumbnail),
    )  # fmt: skip
    return b"".join((fields, outcome.jpeg, outcome.thumbnail))


def _unpacked(memory: mmap.mmap, start: int, stop: int) -> Outcome:
    """The result that lies between two places.

    Raises:
        ValueError: its parts do not end where it does; other errors likewise mean that it is none.
    """
    if memory[start] == 0:
        if not start + _REJECTED.size <= stop <= len(memory):
            raise ValueError(f"it ends at {stop}")
        reason, detail = memory[start + 1], memory[start + _REJECTED.size : stop]
        return Rejected(_REASONS[reason], detail.decode("utf-8", "replace"))
    fields = _ACCEPTED.unpack_from(memory, start)
    _, kind, width, height, phash, flags, *metrics, taken_at, jpeg, thumbnail = fields
    pictures = start + _ACCEPTED.size
    small = pictures + jpeg
    if small + thumbnail != stop or stop > len(memory):
        raise ValueError(f"pictures of {jpeg} and {thumbnail} bytes do not end at {stop}")
    return Prepared(
        format=_FORMATS[kind],
        width=width,
        height=height,
        phash=phash,
        flags=tuple(flag for flag, bit in _FLAG_BITS.items() if flags & bit) if flags else (),
        metrics=Metrics(*metrics),
        taken_at=None if taken_at != taken_at else datetime.fromtimestamp(taken_at, UTC),
        jpeg=memory[pictures:small],
        thumbnail=memory[small:stop],
    )
