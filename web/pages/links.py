"""Addresses with parameters: the state of a list stands in its address, so that it can be sent to others."""

from urllib.parse import parse_qsl, quote, urlencode, urlsplit


def link(path: str, **parameters: object) -> str:
    """An address; parameters that are None or empty are left out, lists come once for each value."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    given = [
        (name, str(value)) for name, values in lists.items() for value in values if value not in (None, "")
    ]
    return f"{path}?{urlencode(given)}" if given else path


def inside(address: str) -> str:
    """An address of this server: never one that another site has put into a form or a link."""
    plain = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if plain and address.isprintable() else "/"


def with_parameter(address: str, name: str, value: str) -> str:
    """An address with one parameter set to a value."""
    parts = urlsplit(address)
    others = [(key, each) for key, each in parse_qsl(parts.query) if key != name]
    return parts._replace(query=urlencode([*others, (name, value)])).geturl()


def segment(value: str | None) -> str:
    """A value as one part of a path."""
    return quote(value or "", safe="")


def thumbnail(upload_id: str | None) -> str:
    """The address of an upload's thumbnail."""
    return f"/api/v1/uploads/{segment(upload_id)}/picture?size=thumbnail"


def picture(upload_id: str | None) -> str:
    """The address of an upload's stored picture."""
    return f"/api/v1/uploads/{segment(upload_id)}/picture"
