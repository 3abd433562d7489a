"""Shared memory between a Python worker and its decoder child: pictures in, verdicts out.

The child decodes untrusted bytes, so nothing that it writes is trusted: numbers are checked before they are
used, and results are fixed structures, never pickles.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from conf.choices import Flag
from conf.sections import Ingest
from lake.pictures.formats import Format
from streaming.contract.verdict import REASONS, Rejected
from streaming.verify.prepared import Outcome, Prepared
from streaming.verify.quality import Metrics

Buffer = bytes | memoryview

_INPUT_BYTES = 16 << 20
_OUTPUT_BYTES = 8 << 20
# Seals of the size: shrunk memory would crash the worker (SIGBUS), and grown memory could fill the machine.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_HEADER = struct.Struct("<QQQ")  # task, results written, pictures begun
_COUNT = struct.Struct("<Q")
_RESULTS_OFFSET, _BEGUN_OFFSET = _COUNT.size, 2 * _COUNT.size  # in the header
_LENGTH = struct.Struct("<I")
_REJECTED = struct.Struct("<BB")  # 0, reason
# 1, format, width, height, phash, flags, metrics, taken_at, lengths of JPEG and thumbnail
_ACCEPTED = struct.Struct("<BBIIqI5fdII")
_FORMATS, _REASONS, _FLAGS = tuple(Format), REASONS, tuple(Flag)
_FORMAT_CODES = {kind: number for number, kind in enumerate(_FORMATS)}
_FLAG_BITS: dict[str, int] = {flag: 1 << number for number, flag in enumerate(_FLAGS)}
_DETAIL_BYTES = 1024


class SharedBuffers:
    """Two anonymous shared memories (memfd), one for each direction.

    Args:
        limits: limits of uploads; the memories can hold the largest picture and the largest result.
        descriptors: the `descriptors` of the process that created the memories; None creates them.
    """

    def __init__(self, limits: Ingest, descriptors: tuple[int, int] | None = None) -> None:
        # An encoded picture is smaller than its pixels: picture, thumbnail and fields fit at any quality.
        sizes = max(_INPUT_BYTES, 2 * limits.max_bytes), max(_OUTPUT_BYTES, 12 * limits.longest_side**2)
        self.descriptors = descriptors or (
            _create_memfd("hub-in", sizes[0]),
            _create_memfd("hub-out", sizes[1]),
        )
        self._input = mmap.mmap(self.descriptors[0], sizes[0])
        self._output = mmap.mmap(self.descriptors[1], sizes[1])
        self._last_start = sizes[1] - _LENGTH.size - _DETAIL_BYTES - 12 * limits.longest_side**2 // 2

    def close(self) -> None:
        """Release the memory."""
        self._input.close()
        self._output.close()
        for descriptor in self.descriptors:
            os.close(descriptor)

    def write_pictures(self, task: int, contents: Sequence[Buffer]) -> int:
        """Write the first pictures for the decoder, as many as fit.

        Args:
            task: a number that no other task has.

        Returns:
            the number of written pictures; at least one.
        """
        end = _LENGTH.size
        count = 0
        for content in contents:
            if count and end + _LENGTH.size + len(content) > len(self._input):
                break
            _LENGTH.pack_into(self._input, end, len(content))
            self._input[end + _LENGTH.size : end + _LENGTH.size + len(content)] = content
            end += _LENGTH.size + len(content)
            count += 1
        _LENGTH.pack_into(self._input, 0, count)
        _HEADER.pack_into(self._output, 0, task, 0, 0)
        return count

    def read_pictures(self) -> Iterator[bytes]:
        """Yield the pictures of the task."""
        (count,) = _LENGTH.unpack_from(self._input)
        position = _LENGTH.size
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(self._input, position)
            position += _LENGTH.size
            yield self._input[position : position + length]
            position += length

    def mark_begun(self, position: int) -> None:
        """Record that the decoder begins a picture; if it crashes, this picture is rejected."""
        _COUNT.pack_into(self._output, _BEGUN_OFFSET, position + 1)

    def write_result(self, position: int, end: int, outcome: Outcome) -> int:
        """Append a result.

        Args:
            position: of its picture; the number of earlier results.
            end: offset of the end of the last result, 0 for none.

        Returns:
            offset of the end of this result.
        """
        end = end or _HEADER.size
        packed = _pack(outcome)
        start = end + _LENGTH.size
        stop = start + len(packed)
        self._output[start:stop] = packed
        _LENGTH.pack_into(self._output, end, len(packed))
        _COUNT.pack_into(self._output, _RESULTS_OFFSET, position + 1)  # last: a counted result is complete
        return stop

    def has_room(self, end: int) -> bool:
        """Whether the largest possible result fits after this end."""
        return end < self._last_start

    def begun_count(self, count: int) -> int:
        """Number of pictures that the decoder has begun, at most `count`, the number of written pictures."""
        (begun,) = _COUNT.unpack_from(self._output, _BEGUN_OFFSET)
        return min(begun, count)

    def read_results(self, count: int) -> tuple[list[Outcome], int | None]:
        """Read the results, and the position of the last picture that the decoder has begun.

        Args:
            count: number of written pictures.

        Raises:
            ValueError: the decoder has written invalid data.
        """
        _, written, begun = _HEADER.unpack_from(self._output)
        if written > count or begun > count:
            raise ValueError(f"{written} results and {begun} pictures begun of {count}")
        outcomes: list[Outcome] = []
        position = _HEADER.size
        for _ in range(written):
            try:
                (length,) = _LENGTH.unpack_from(self._output, position)
                start, position = position + _LENGTH.size, position + _LENGTH.size + length
                outcomes.append(_unpack(self._output, start, position))
            except (struct.error, IndexError, ValueError, OverflowError, OSError) as error:
                raise ValueError(f"result {len(outcomes)} is invalid: {error}") from None
        return outcomes, begun - 1 if begun else None


def _create_memfd(name: str, size: int) -> int:
    """Create a memfd whose size cannot be changed; return its descriptor."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def _pack(outcome: Outcome) -> bytes:
    if isinstance(outcome, Rejected):
        detail = outcome.detail.encode("utf-8", "replace")[:_DETAIL_BYTES]
        return _REJECTED.pack(0, _REASONS.index(outcome.reason)) + detail
    fields = _ACCEPTED.pack(
        1, _FORMAT_CODES[outcome.format], outcome.width, outcome.height, outcome.phash,
        sum(map(_FLAG_BITS.__getitem__, outcome.flags)), *outcome.metrics,
        outcome.taken_at.timestamp() if outcome.taken_at else float("nan"),
        len(outcome.jpeg), len(outcome.thumbnail),
    )  # fmt: skip
    return b"".join((fields, outcome.jpeg, outcome.thumbnail))


def _unpack(memory: mmap.mmap, start: int, stop: int) -> Outcome:
    """Unpack the result between two offsets.

    Raises:
        ValueError: the lengths in the result do not match `stop`; struct, index and other errors also mean
            an invalid result.
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
