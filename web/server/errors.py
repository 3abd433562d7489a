"""Errors of the server."""

from conf.errors import HubError


class ServerError(HubError):
    """The server cannot start."""
