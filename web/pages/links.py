"""Addresses with parameters: the state of a list stands in its address, so that it can be sent to others."""

from urllib.parse import quote, urlencode


def link(path: str, **parameters: object) -> str:
    """An address; parameters that are None or empty are left out."""
    given = {name: str(value) for name, value in parameters.items() if value is not None and value != ""}
    return f"{path}?{urlencode(given)}" if given else path


def segment(value: str | None) -> str:
    """A value as one part of a path."""
    return quote(value or "", safe="")


def thumbnail(upload_id: str | None) -> str:
    """The address of an upload's thumbnail."""
    return f"/api/v1/uploads/{segment(upload_id)}/picture?size=thumbnail"


def picture(upload_id: str | None) -> str:
    """The address of an upload's stored picture."""
    return f"/api/v1/uploads/{segment(upload_id)}/picture"
