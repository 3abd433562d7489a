"""A problem: an error of a request, with its status, for people and for programs."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


@dataclass(eq=False)  # not frozen: contextlib sets attributes of exceptions
class Problem(Exception):
    """An error that a request is answered with.

    Args:
        status: HTTP status.
        detail: one sentence for people: what is wrong, and the way out.
        code: word for programs, for example a reason of the record contract; empty: the status' own phrase.
        retry_after: seconds after which the same request may succeed; None: it would fail again.
        headers: further headers of the answer.

    Source: RFC 9457.
    """

    status: int
    detail: str
    code: str = ""
    retry_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        title = HTTPStatus(self.status).phrase
        code = self.code or title.lower().replace(" ", "_")
        body: dict[str, Any] = {"type": "about:blank", "title": title, "status": self.status}
        body |= {"detail": self.detail, "code": code}
        return body if self.retry_after is None else body | {"retry_after": self.retry_after}

    def all_headers(self) -> dict[str, str]:
        """The headers of the answer, Retry-After included."""
        after = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {"Cache-Control": "no-store", **self.headers, **after}
