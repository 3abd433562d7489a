"""What can go wrong with services on this machine."""

from conf.errors import HubError


class LocalError(HubError):
    """A local service cannot be started or stopped."""


class PartsMissing(LocalError):
    """Java or the JVM parts are not installed."""


class BrokerFailed(LocalError):
    """The embedded broker does not start or does not stop."""


class NoBroker(LocalError):
    """No broker runs here and no other is set."""
