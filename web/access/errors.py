"""Errors of accounts and keys."""

from conf.errors import HubError


class AccessError(HubError):
    """An account or a key cannot be made, found or changed."""
