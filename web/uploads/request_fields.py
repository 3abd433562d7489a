"""The fields of an upload that come over HTTP: CloudEvents headers, or query parameters of the same names.

Source: CloudEvents 1.0, HTTP protocol binding, section 3.1 (binary mode): header `ce-NAME`, percent-encoded.
"""

import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote

from lake.pictures import formats
from streaming.contract import envelope
from streaming.contract.producer_record import ProducerRecord
from streaming.contract.record import SPEC_VERSION, TYPE, Header
from streaming.contract.rules import Rules
from streaming.contract.verdict import quoted
from web.access.principal import Principal, Proof, Role
from web.problems.problem import Problem

NAMES = ("id", "source", "type", "time", "label", "user", "batch", "geo", "sha256")
"""Attributes that are read; each is a header `ce-NAME` or a query parameter `NAME`."""

_ID = re.compile(r"[A-Za-z0-9._~:@-]{1,200}")
_MEDIA_TYPES = re.compile(r"(image/[\w.+-]+|application/octet-stream)")


def fields(headers: Mapping[str, str], query: Mapping[str, str], principal: Principal) -> dict[str, str]:
    """The attributes of an upload, completed by who sends it.

    A device's key names user and device. Only an admin may send for other users, as a gateway does.

    Raises:
        Problem: 422, an attribute cannot be used; 403, it names somebody else; 415, no picture's media type.
    """
    if "ce-dataref" in headers or "dataref" in query:
        raise Problem(422, "pictures by reference are taken from Kafka only: send the picture as the body")
    media_type = headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if not _MEDIA_TYPES.fullmatch(media_type):
        why = f"content-type {quoted(media_type)} is no picture: send the picture itself as the body"
        raise Problem(415, why, "unsupported_format")
    found = {name: value for name in NAMES if (value := _value(name, headers, query)) is not None}
    found.setdefault("id", str(uuid.uuid4()))
    if not _ID.fullmatch(found["id"]):
        raise Problem(
            422, f"id = {quoted(found['id'])}: use up to 200 letters, digits and . _ ~ : @ -", "bad_header"
        )
    found.setdefault("type", TYPE)
    found.setdefault("time", datetime.now(UTC).isoformat())
    found["user"] = _user(found.get("user"), principal)
    found["source"] = _source(found.get("source"), query.get("device"), principal)
    return found | {"content-type": media_type}


def record(content: bytes, attributes: Mapping[str, str], rules: Rules) -> ProducerRecord:
    """The Kafka record of an upload, checked by the record contract as ingestion does.

    Raises:
        Problem: 422, the contract is broken; 415, the content is no picture.
    """
    digest = hashlib.sha256(content).hexdigest()
    if attributes.get("sha256", digest).lower() != digest:
        raise Problem(422, "the body is not the one that sha256 names: send it again", "checksum_mismatch")
    if not content:
        raise Problem(422, "the body is empty: send the picture as the body", "empty")
    if formats.detect(content) is None:
        kind = formats.name_of(content) or "no picture"
        raise Problem(415, f"the body is {kind}: send JPEG, PNG, WebP, HEIC or AVIF", "unsupported_format")
    values = dict(attributes) | {"specversion": SPEC_VERSION, "sha256": digest}
    headers: list[Header] = [("content-type", values.pop("content-type").encode())]
    headers += [(f"ce_{name}", value.encode()) for name, value in values.items()]
    key = attributes["source"].removeprefix("/devices/").encode()
    problem = envelope.parse(key, headers, rules).problem
    if problem is not None:
        raise Problem(422, problem.detail, problem.reason)
    return ProducerRecord(key, content, headers)


def _value(name: str, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    sent = headers.get(f"ce-{name}")
    if sent is None:
        return query.get(name)
    try:
        return unquote(sent.encode("latin-1").decode("utf-8"), errors="strict")
    except UnicodeDecodeError:
        raise Problem(422, f"ce-{name} is not UTF-8: percent-encode it", "bad_header") from None


def _user(sent: str | None, principal: Principal) -> str:
    if sent is None or sent == principal.user:
        return principal.user
    if not principal.may(Role.ADMIN):
        raise Problem(403, f"user {quoted(sent)}: this key sends for {principal.user!r} only")
    return sent


def _source(sent: str | None, device: str | None, principal: Principal) -> str:
    own = principal.device or (device if principal.proof is not Proof.KEY else None)
    if sent is None:
        return f"/devices/{own or 'web'}"
    if principal.device is not None and sent != f"/devices/{principal.device}":
        raise Problem(403, f"source {quoted(sent)}: this key belongs to device {principal.device!r}")
    return sent
