"""Generate broken and hostile uploads, one kind for each reject reason that data alone can cause."""

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

_RECORD_LIMIT = 12 * 2**20 - 2**16  # bytes; the broker accepts no larger value


@dataclass(frozen=True)
class HostileUpload:
    """A record that breaks a rule, and the reason for which the hub must reject it."""

    record: ProducerRecord
    reason: Reason


# Makes a record from an upload and a variant number: each variant breaks the same rule in another way.
FaultMaker = Callable[[Upload, int], ProducerRecord]


@dataclass(frozen=True)
class FaultGenerator:
    """Generates hostile uploads from valid ones, cycling through the kinds.

    Args:
        kinds: reject reasons and their generators, in cycle order.
    """

    kinds: tuple[tuple[Reason, FaultMaker], ...]

    @classmethod
    def of(cls, settings: "Settings") -> "FaultGenerator":
        """All kinds that these settings reject: unknown labels only if labels are closed."""
        kinds = dict(_KINDS)
        if settings.labels.mode == "closed":
            kinds[Reason.UNKNOWN_LABEL] = _unknown_label
        max_bytes = settings.ingest.max_bytes
        if max_bytes < _RECORD_LIMIT:
            kinds[Reason.TOO_LARGE] = lambda upload, variant: _with_content(
                upload, hostile_pictures.padded_jpeg(max_bytes + 1 + variant)
            )
        return cls(tuple(kinds.items()))

    def generate(self, upload: Upload, number: int) -> HostileUpload:
        """Generate the hostile upload with this number.

        Args:
            upload: a valid upload that was sent; a duplicate keeps its id, every other kind gets a new id.
            number: from 0; the same number breaks the same rule in the same way.
        """
        variant, kind = divmod(number, len(self.kinds))
        reason, maker = self.kinds[kind]
        if reason is not Reason.DUPLICATE_UPLOAD:
            upload = replace(upload, id=str(uuid.uuid4()))
        return HostileUpload(maker(upload, variant), reason)


def _with_content(upload: Upload, content: bytes) -> ProducerRecord:
    """The upload with other content and the matching sha256."""
    sha256 = hashlib.sha256(content).hexdigest()
    return ProducerRecord.of(replace(upload, content=content, sha256=sha256, dataref=None))


def _with_header(upload: Upload, name: str, value: bytes | None) -> ProducerRecord:
    headers: list[Header] = [header for header in upload.headers() if header[0] != name]
    if value is not None:
        headers.append((name, value))
    return ProducerRecord(upload.key(), upload.content, headers)


def _missing_header(upload: Upload, variant: int) -> ProducerRecord:
    names = ("ce_id", "ce_source", "ce_type", "ce_time", "ce_label")
    return _with_header(upload, names[variant % len(names)], None)


def _bad_header(upload: Upload, variant: int) -> ProducerRecord:
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
    if variant % (len(kinds) + 1) == len(kinds):
        record = ProducerRecord.of(upload)
        return ProducerRecord(record.key, record.value, [*record.headers, ("ce_label", b"another")])
    return _with_header(upload, *kinds[variant % (len(kinds) + 1)])


def _bad_label(upload: Upload, variant: int) -> ProducerRecord:
    labels = (
        "../../etc/passwd", "<script>alert(1)</script>", "кот", "...", "🐈", "ca\u202et", "C:\\cat",
        "nul\0inside", "\x1b[31mcat", "\ufffd\ufffd",
    )  # fmt: skip
    return ProducerRecord.of(replace(upload, label=labels[variant % len(labels)]))


def _unknown_label(upload: Upload, variant: int) -> ProducerRecord:
    return ProducerRecord.of(replace(upload, label=f"nobody-lists-this-{variant}"))


def _empty(upload: Upload, variant: int) -> ProducerRecord:
    return _with_content(upload, b"")


def _checksum_mismatch(upload: Upload, variant: int) -> ProducerRecord:
    wrong = hashlib.sha256(f"{variant}".encode()).hexdigest()
    return ProducerRecord.of(replace(upload, sha256=wrong))


def _payload_unreachable(upload: Upload, variant: int) -> ProducerRecord:
    uris = ("file:///etc/passwd", "http://169.254.169.254/latest/meta-data", "s3://nobody/nothing.jpg")
    reference = uris[variant % len(uris)]
    return ProducerRecord.of(replace(upload, content=None, sha256=None, dataref=reference))


def _unsupported_format(upload: Upload, variant: int) -> ProducerRecord:
    return _with_content(upload, hostile_pictures.unsupported(variant))


def _undecodable(upload: Upload, variant: int) -> ProducerRecord:
    return _with_content(upload, hostile_pictures.undecodable(variant))


def _truncated(upload: Upload, variant: int) -> ProducerRecord:
    return _with_content(upload, hostile_pictures.truncated(variant))


def _pixel_bomb(upload: Upload, variant: int) -> ProducerRecord:
    return _with_content(upload, hostile_pictures.pixel_bomb(variant))


def _scan_bomb(upload: Upload, variant: int) -> ProducerRecord:
    return _with_content(upload, hostile_pictures.scan_bomb(variant))


def _too_small(upload: Upload, variant: int) -> ProducerRecord:
    return _with_content(upload, hostile_pictures.tiny(variant))


def _duplicate_upload(upload: Upload, variant: int) -> ProducerRecord:
    """The same upload again, as from a phone that missed the acknowledgement."""
    return ProducerRecord.of(upload)


_KINDS: dict[Reason, FaultMaker] = {
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
