"""Broken and hostile uploads of every kind that data alone can provoke, each with the reason it deserves."""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streaming.contract.producer_record import ProducerRecord
from streaming.contract.record import Header, Upload
from streaming.contract.verdict import Reason
from streaming.upload import hostile_pictures

if TYPE_CHECKING:
    from conf.settings import Settings

_RECORD_CEILING = 12 * 2**20 - 2**16  # a broker takes no larger value


@dataclass(frozen=True)
class Hostile:
    """A record that breaks a rule, and the reason the hub must reject it for."""

    record: ProducerRecord
    reason: Reason


# Makes a record of an upload and a turn: each turn of a kind breaks its rule in another way.
Maker = Callable[[Upload, int], ProducerRecord]


@dataclass(frozen=True)
class FaultGenerator:
    """Spoils uploads, kind after kind.

    Args:
        kinds: the ways to break rules under these settings, in the order in which they come.
    """

    kinds: tuple[tuple[Reason, Maker], ...]

    @classmethod
    def of(cls, settings: "Settings") -> "FaultGenerator":
        """All kinds that the settings reject: unknown labels only where labels are closed."""
        kinds = dict(_KINDS)
        if settings.labels.mode == "closed":
            kinds[Reason.UNKNOWN_LABEL] = _unknown_label
        most = settings.ingest.max_bytes
        if most < _RECORD_CEILING:
            kinds[Reason.TOO_LARGE] = lambda upload, turn: _of(
                upload, hostile_pictures.padded(most + 1 + turn)
            )
        return cls(tuple(kinds.items()))

    def spoil(self, upload: Upload, number: int) -> Hostile:
        """The hostile upload of this number.

        Args:
            upload: a valid one that has been sent; all but a duplicate get a new id.
            number: from 0; the same number breaks the same rule in the same way.
        """
        turn, kind = divmod(number, len(self.kinds))
        reason, maker = self.kinds[kind]
        if reason is not Reason.DUPLICATE_UPLOAD:
            upload = replace(upload, id=str(uuid.uuid4()))
        return Hostile(maker(upload, turn), reason)


def _of(upload: Upload, content: bytes) -> ProducerRecord:
    """The upload with other content and a true hash of it."""
    sha256 = hashlib.sha256(content).hexdigest()
    return ProducerRecord.of(replace(upload, content=content, sha256=sha256, dataref=None))


def _with_header(upload: Upload, name: str, value: bytes | None) -> ProducerRecord:
    headers: list[Header] = [header for header in upload.headers() if header[0] != name]
    if value is not None:
        headers.append((name, value))
    return ProducerRecord(upload.key(), upload.content, headers)


def _missing_header(upload: Upload, turn: int) -> ProducerRecord:
    names = ("ce_id", "ce_source", "ce_type", "ce_time", "ce_label")
    return _with_header(upload, names[turn % len(names)], None)


def _bad_header(upload: Upload, turn: int) -> ProducerRecord:
    kinds = (
        ("ce_time", b"last tuesday"),
        ("ce_source", b"\xff\xfe not UTF-8"),
        ("ce_user", b"u" * 100_000),
        ("ce_batch", "holiday\u202egpj.exe".encode()),  # shown as holidayexe.jpg
        ("ce_geo", b"91.0,400.0"),
        ("ce_time", b"0001-01-01T00:00:00Z"),
        ("ce_id", b"nul\0inside"),
        ("ce_type", b"someone.elses.event"),
        ("ce_id", b"two\nlines"),
        ("ce_sha256", b"sha256"),
        ("ce_specversion", b"0.3"),
    )
    if turn % (len(kinds) + 1) == len(kinds):
        record = ProducerRecord.of(upload)
        return ProducerRecord(record.key, record.value, [*record.headers, ("ce_label", b"another")])
    return _with_header(upload, *kinds[turn % (len(kinds) + 1)])


def _bad_label(upload: Upload, turn: int) -> ProducerRecord:
    labels = (
        "../../etc/passwd", "<script>alert(1)</script>", "кот", "x" * 65, "🐈", "ca\u202et", "-rf",
        "nul\0inside", "cat;drop table", "ıspanak",
    )  # fmt: skip
    return ProducerRecord.of(replace(upload, label=labels[turn % len(labels)]))


def _unknown_label(upload: Upload, turn: int) -> ProducerRecord:
    return ProducerRecord.of(replace(upload, label=f"nobody-lists-this-{turn}"))


def _empty(upload: Upload, turn: int) -> ProducerRecord:
    return _of(upload, b"")


def _checksum_mismatch(upload: Upload, turn: int) -> ProducerRecord:
    wrong = hashlib.sha256(f"{turn}".encode()).hexdigest()
    return ProducerRecord.of(replace(upload, sha256=wrong))


def _payload_unreachable(upload: Upload, turn: int) -> ProducerRecord:
    uris = ("file:///etc/passwd", "http://169.254.169.254/latest/meta-data", "s3://nobody/nothing.jpg")
    reference = uris[turn % len(uris)]
    return ProducerRecord.of(replace(upload, content=None, sha256=None, dataref=reference))


def _unsupported_format(upload: Upload, turn: int) -> ProducerRecord:
    return _of(upload, hostile_pictures.unsupported(turn))


def _undecodable(upload: Upload, turn: int) -> ProducerRecord:
    return _of(upload, hostile_pictures.rubbish(turn))


def _truncated(upload: Upload, turn: int) -> ProducerRecord:
    return _of(upload, hostile_pictures.truncated(turn))


def _pixel_bomb(upload: Upload, turn: int) -> ProducerRecord:
    return _of(upload, hostile_pictures.pixel_bomb(turn))


def _scan_bomb(upload: Upload, turn: int) -> ProducerRecord:
    return _of(upload, hostile_pictures.scan_bomb(turn))


def _too_small(upload: Upload, turn: int) -> ProducerRecord:
    return _of(upload, hostile_pictures.tiny(turn))


def _duplicate_upload(upload: Upload, turn: int) -> ProducerRecord:
    """The same upload again, as a phone sends it that lost the acknowledgement."""
    return ProducerRecord.of(upload)


_KINDS: dict[Reason, Maker] = {
    Reason.MISSING_HEADER: _missing_header,
    Reason.BAD_HEADER: _bad_header,
    Reason.BAD_LABEL: _bad_label,
    Reason.EMPTY: _empty,
    Reason.CHECKSUM_MISMATCH: _checksum_mismatch,
    Reason.PAYLOAD_UNREACHABLE: _payload_unreachable,
    Reason.UNSUPPORTED_FORMAT: _unsupported_format,
    Reason.UNDECODABLE: _undecodable,
    Reason.TRUNCATED: _truncated,
    Reason.PIXEL_BOMB: _pixel_bomb,
    Reason.SCAN_BOMB: _scan_bomb,
    Reason.TOO_SMALL: _too_small,
    Reason.DUPLICATE_UPLOAD: _duplicate_upload,
}
