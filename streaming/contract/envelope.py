"""Parse and validate the Kafka headers of an upload. Pure functions: no Spark, no pixels."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from re import compile as pattern
from typing import TypeVar

import pygeohash

from lake.errors import BadLabel
from lake.label_slug import CONTROLS, label_slug, written_name
from streaming.contract.record import SPEC_VERSION, TYPE, YEARS, Header
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, quoted

_REQUIRED = ("ce_id", "ce_source", "ce_type", "ce_time", "ce_label")
_OPTIONAL = ("ce_specversion", "ce_user", "ce_batch", "ce_geo", "ce_sha256", "ce_dataref")
KNOWN_HEADERS = _REQUIRED + _OPTIONAL
_KNOWN_NAMES = frozenset(KNOWN_HEADERS)

# RFC 3339 section 5.6. Python's parser alone also accepts week dates and times without a zone.
_TIME = pattern(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
# Python's float() alone also accepts 1_0 and digits of other scripts.
_LOCATION = pattern(r" *([+-]?[0-9]+(?:\.[0-9]+)?) *, *([+-]?[0-9]+(?:\.[0-9]+)?) *")
_SOURCE = pattern(r"/devices/([^/\s]{1,128})")
_SHA256 = pattern(r"[0-9a-fA-F]{64}")

_YEAR_ERROR = f"must lie in the years {YEARS[0]} to {YEARS[-1]}"

T = TypeVar("T")


@dataclass(frozen=True)
class Envelope:
    """The fields of an upload, parsed from its headers. A field is None if it is absent or malformed.

    Args:
        label: the slug of the label.
        label_name: the label as it was written; None if it has no slug.
        problem: the first error, in the order too many headers, missing, malformed, label; None if the
            headers are valid.
    """

    upload_id: str | None = None
    device: str | None = None
    user: str | None = None
    batch: str | None = None
    label: str | None = None
    label_name: str | None = None
    event_time: datetime | None = None
    geohash: str | None = None
    sha256: str | None = None
    dataref: str | None = None
    problem: Rejected | None = None


def parse(key: bytes | None, headers: Sequence[Header], rules: Rules, omitted: int = 0) -> Envelope:
    """Parse and validate the headers of one record.

    Args:
        key: Kafka key; it names the device if the header ce_source does not.
        headers: in the record's order; headers that the contract does not define are ignored.
        rules: header limits and known labels.
        omitted: number of further headers that were dropped because the record has too many.

    Returns:
        the envelope; `problem` is set if the upload must be rejected.
    """
    reader = _Reader(headers, rules.ingest.max_header_bytes)
    reader.parsed("ce_specversion", _spec_version)
    reader.parsed("ce_type", _type)
    envelope = {
        "upload_id": reader.text("ce_id"),
        "device": reader.parsed("ce_source", _device) or _key_text(key),
        "event_time": reader.parsed("ce_time", _time),
        "user": reader.text("ce_user"),
        "batch": reader.text("ce_batch"),
        "geohash": reader.parsed("ce_geo", lambda text: _geohash(text, rules.ingest.geohash_length)),
        "sha256": reader.parsed("ce_sha256", _sha256),
        "dataref": reader.text("ce_dataref"),
        "label": reader.parsed("ce_label", lambda text: _label(text, rules)),
    }
    if envelope["label"] is not None:
        envelope["label_name"] = written_name(reader.text("ce_label") or "")
    problem = _too_many(len(headers) + omitted, rules.ingest.max_headers) or reader.first_problem()
    return Envelope(**envelope, problem=problem)  # type: ignore[arg-type]


class _Reader:
    """Decodes the headers and collects their errors."""

    def __init__(self, headers: Sequence[Header], limit: int) -> None:
        self._limit = limit
        self._problems: list[Rejected] = []
        self._texts: dict[str, str] = {}
        known = [(name, value) for name, value in headers if name in _KNOWN_NAMES]
        counts = Counter(name for name, _ in known)
        for name, value in known:
            if counts[name] > 1:
                self._reject(f"{name} occurs {counts[name]} times")
            elif value is not None:
                self._decode(name, value)
        present = {name for name, value in known if value is not None}
        self._missing = [name for name in _REQUIRED if name not in present]

    def text(self, name: str) -> str | None:
        """The decoded value of a header, or None if it is absent or malformed."""
        return self._texts.get(name)

    def parsed(self, name: str, parser: Callable[[str], T]) -> T | None:
        """The parsed value of a header, or None if it is absent or malformed."""
        text = self._texts.get(name)
        if text is None:
            return None
        try:
            return parser(text)
        except Rejected as problem:
            self._problems.append(problem)
        except ValueError as error:
            self._reject(f"{name} = {quoted(text)}: {error}")
        return None

    def first_problem(self) -> Rejected | None:
        """The error that rejects the upload, or None: missing before malformed before the label."""
        if self._missing:
            return Rejected(Reason.MISSING_HEADER, f"no {', '.join(self._missing)}")
        return min(self._problems, key=lambda problem: problem.reason != Reason.BAD_HEADER, default=None)

    def _decode(self, name: str, value: bytes) -> None:
        if len(value) > self._limit:
            self._reject(f"{name} has {len(value)} bytes, at most {self._limit} are allowed")
            return
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            self._reject(f"{name} is not UTF-8 at byte {error.start}")
            return
        if not text or (name != "ce_label" and CONTROLS.search(text)):
            self._reject(f"{name} = {quoted(text)} is empty or contains control characters")
            return
        self._texts[name] = text

    def _reject(self, detail: str) -> None:
        self._problems.append(Rejected(Reason.BAD_HEADER, detail))


def _too_many(count: int, limit: int) -> Rejected | None:
    if count <= limit:
        return None
    return Rejected(Reason.BAD_HEADER, f"{count} headers, at most {limit} are allowed")


def _spec_version(text: str) -> str:
    if text != SPEC_VERSION:
        raise ValueError(f"must be {SPEC_VERSION}")
    return text


def _type(text: str) -> str:
    if text != TYPE:
        raise ValueError(f"must be {TYPE}")
    return text


def _device(text: str) -> str:
    match = _SOURCE.fullmatch(text)
    if not match:
        raise ValueError("must be /devices/ID")
    return match[1]


def _time(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise ValueError("must be an RFC 3339 time with a zone")
    leap = text[17:19] == "60"
    if leap:  # read as second 59: datetime has no second 60, and the next second is on another day
        text = f"{text[:17]}59{text[19:]}"
    try:
        time = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError(_YEAR_ERROR) from None
    if leap and (time.hour, time.minute) != (23, 59):
        raise ValueError("a leap second must be the last second of a UTC day")
    if time.year not in YEARS:
        raise ValueError(_YEAR_ERROR)
    return time


def _geohash(text: str, length: int) -> str | None:
    match = _LOCATION.fullmatch(text)
    latitude, longitude = map(float, match.groups()) if match else (math.nan, math.nan)
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise ValueError("must be lat,lon in degrees")
    return pygeohash.encode(latitude, longitude, precision=length) if length else None


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValueError("must be 64 hexadecimal digits")
    return text.lower()


def _label(text: str, rules: Rules) -> str:
    try:
        label = label_slug(text)
    except BadLabel as error:
        raise Rejected(Reason.BAD_LABEL, str(error)) from None
    if rules.labels is not None and label not in rules.labels:
        raise Rejected(Reason.UNKNOWN_LABEL, f"{quoted(text)}, slug {label}, is not in the list of labels")
    return rules.aliases.get(label, label)


def _key_text(key: bytes | None) -> str | None:
    try:
        text = (key or b"").decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text and not CONTROLS.search(text) and len(text) <= 128 else None
