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


class DecoderLost(StreamingError):
    """The process that decodes pictures cannot be kept running."""
