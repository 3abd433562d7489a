"""Verdicts on uploads: accepted, or rejected with one reason of a closed list."""

from enum import StrEnum

from conf.choices import Flag


class Verdict(StrEnum):
    """The verdict on an upload; ERASED replaces it when the user is erased."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ERASED = "erased"


class Reason(StrEnum):
    """Why an upload is rejected."""

    MISSING_HEADER = "missing_header"
    BAD_HEADER = "bad_header"
    BAD_LABEL = "bad_label"
    UNKNOWN_LABEL = "unknown_label"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    PAYLOAD_UNREACHABLE = "payload_unreachable"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    PIXEL_BOMB = "pixel_bomb"
    SCAN_BOMB = "scan_bomb"
    DECODE_TIMEOUT = "decode_timeout"
    DECODER_CRASHED = "decoder_crashed"
    TOO_SMALL = "too_small"
    DUPLICATE_UPLOAD = "duplicate_upload"


RejectReason = Reason | Flag  # `quality.reject` turns flags into reasons
REASONS: tuple[RejectReason, ...] = (*Reason, *Flag)


class Rejected(Exception):  # carries the verdict through the checks of one upload
    """An upload is rejected.

    Args:
        reason: from the closed list.
        detail: message for the uploader that quotes the bad value.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def quoted(value: object, limit: int = 80) -> str:
    """Quote a bad value for a message: control characters escaped, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
