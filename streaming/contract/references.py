"""Parse references to pictures outside Kafka (header `ce_dataref`) and check them against allowed prefixes.

Pure functions: they send no request and read no file. Anyone can write a reference, so parsing is strict:
an ambiguous reference is invalid.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/dataref.md and RFC 3986
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

_URI = re.compile(r"(?P<scheme>s3|file)://(?P<bucket>[^/]*)/(?P<path>.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Reference:
    """The location of one object in a bucket or of one local file.

    Args:
        scheme: s3 or file.
        bucket: empty for a file.
        parts: of the key or of the absolute path; none is empty, `.` or `..`, none contains a slash.
    """

    scheme: str
    bucket: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Parse s3://bucket/key or file:///path; percent-escapes are decoded once.

        Raises:
            ValueError: it is neither of them, or it is ambiguous; the message says why.
        """
        match = _URI.fullmatch(text)
        if match is None:
            raise ValueError("must be s3://bucket/key or file:///path")
        scheme, bucket = match["scheme"], match["bucket"]
        if scheme == "s3" and not _BUCKET.fullmatch(bucket):
            raise ValueError("names no valid bucket; a user or a port is not allowed")
        if scheme == "file" and bucket:
            raise ValueError("names a host")
        if re.search(r"[?#\\]", match["path"]) or _ESCAPE.search(match["path"]):
            raise ValueError("holds ?, #, \\ or an incomplete % escape")
        return cls(scheme, bucket, tuple(map(_decode_part, match["path"].split("/"))))

    @property
    def path(self) -> str:
        """The key, or the path without its first slash."""
        return "/".join(self.parts)

    def matching_prefix(self, prefixes: Sequence[str]) -> str | None:
        """The first prefix that contains the reference, or None. A prefix is a folder: whole parts match.

        Args:
            prefixes: s3://bucket, s3://bucket/path or file:///folder, without a slash at the end.
        """
        for prefix in prefixes:
            scheme, _, rest = prefix.partition("://")
            bucket, *parts = rest.split("/")
            is_below = self.parts[: len(parts)] == tuple(parts) and len(self.parts) > len(parts)
            if (scheme, bucket) == (self.scheme, self.bucket) and is_below:
                return prefix
        return None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{quote(self.path)}"


def _decode_part(text: str) -> str:
    try:
        part = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 when its escapes are decoded") from None
    if part in {"", ".", ".."}:
        raise ValueError("holds an empty part, . or ..")
    if "/" in part or "\\" in part or not part.isprintable():
        raise ValueError("holds an escaped slash or control characters")
    return part
