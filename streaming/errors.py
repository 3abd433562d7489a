"""What can go wrong between a phone and the tables."""

from conf.errors import HubError


class StreamingError(HubError):
    """Uploads cannot be sent or taken in."""


class BadSource(StreamingError):
    """A source is empty, unreadable or hostile."""


class BrokerUnreachable(StreamingError):
    """No Kafka broker answers at the address."""


class PushFailed(StreamingError):
    """Not every upload was acknowledged."""


class IngestFailed(StreamingError):
    """A streaming query stopped with an error."""


class LakeInUse(StreamingError):
    """Another process ingests into the lake or erases from it."""


class DamagedCheckpoint(StreamingError):
    """A streaming query's checkpoint is not what Spark has written."""


class RecordsLost(StreamingError):
    """The topic no longer holds records that were not taken yet, or is not the one it was."""


class NoRejects(StreamingError):
    """No rejected upload is meant, or it cannot be had."""


class UnknownUser(StreamingError):
    """The ledger holds nothing of a user."""


class MetricsUnavailable(StreamingError):
    """Metrics cannot be served where the settings want them."""
