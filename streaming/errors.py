"""Exceptions of uploads, ingestion and followers."""

from conf.errors import HubError


class StreamingError(HubError):
    """Uploads cannot be sent or ingested."""


class BadSource(StreamingError):
    """A source is empty, unreadable or hostile."""


class UnusableLabels(BadSource):
    """Names in a source cannot be labels."""

    exit_status = 2


class BrokerUnreachable(StreamingError):
    """No Kafka broker answers at the address."""


class PushFailed(StreamingError):
    """Some uploads were not acknowledged."""


class IngestFailed(StreamingError):
    """A streaming query stopped with an error."""


class DecoderLost(StreamingError):
    """The decoder process cannot be started, or keeps crashing."""


class ObjectError(StreamingError):
    """An object cannot be read from or written to its store; the message begins with the object's URI."""


class NoSuchObject(ObjectError):
    """The object does not exist."""


class ObjectChanged(ObjectError):
    """An object was replaced after it was listed."""


class ObjectTooLarge(ObjectError):
    """An object is larger than allowed."""


class StoreRefuses(ObjectError):
    """The store refuses a request, and a retry would not help: no such bucket, access denied."""


class CredentialsError(StoreRefuses):
    """The credentials are missing, or the store rejects them."""


class StoreFaulty(ObjectError):
    """The store failed or broke the connection on every attempt."""


class StoreUnavailable(StoreFaulty):
    """The store was overloaded or did not answer on every attempt."""


class LakeInUse(StreamingError):
    """Another process ingests into the lake or erases from it."""


class DamagedCheckpoint(StreamingError):
    """A streaming query's checkpoint is damaged."""


class RecordsLost(StreamingError):
    """The topic has lost records that were not ingested yet, or was created again."""


class UnreadableRecord(StreamingError):
    """Spark cannot read a Kafka record."""


class NoRejects(StreamingError):
    """No rejected upload is selected, or its bytes are not available."""


class UnknownUser(StreamingError):
    """The ledger has no upload of the user."""


class MetricsUnavailable(StreamingError):
    """Metrics cannot be served at the configured address."""
