"""What the hub says of an upload: accepted, or rejected with one reason of a closed list."""

from enum import StrEnum


class Verdict(StrEnum):
    """Accepted or rejected, or what is left of an upload whose user was erased."""

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
    # Flags, where `quality.reject` turns them into rejections.
    DARK = "dark"
    BRIGHT = "bright"
    BLURRY = "blurry"
    LOW_INFORMATION = "low_information"
    ODD_ASPECT = "odd_aspect"
    ODD_SIZE = "odd_size"
    GRAYSCALE = "grayscale"


class Flag(StrEnum):
    """A quality that is marked; it rejects only where the settings say so."""

    DARK = "dark"
    BRIGHT = "bright"
    BLURRY = "blurry"
    LOW_INFORMATION = "low_information"
    ODD_ASPECT = "odd_aspect"
    ODD_SIZE = "odd_size"
    GRAYSCALE = "grayscale"


class Rejected(Exception):  # a verdict that travels as an exception inside one pass
    """An upload is refused.

    Args:
        reason: of the closed list.
        detail: the value that was wrong, for the person who uploaded it.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def quoted(value: object, limit: int = 80) -> str:
    """A bad value for a message: quoted, without control characters, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
