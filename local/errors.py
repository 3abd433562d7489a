"""Exceptions of the embedded broker."""

from conf.errors import HubError


class LocalError(HubError):
    """The embedded broker cannot be started, found or stopped."""


class JvmMissing(LocalError):
    """Java or the broker's jars are not installed."""


class BrokerFailed(LocalError):
    """The embedded broker does not start or does not stop."""


class NoBroker(LocalError):
    """No embedded broker is running, and the settings name no cluster."""
