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


class ObjectError(StreamingError):
    """An object store did not give or take an object; the message begins with the object's URI."""


class NoSuchObject(ObjectError):
    """There is no object of this name."""


class ObjectChanged(ObjectError):
    """An object is no longer the one that was listed."""


class ObjectTooLarge(ObjectError):
    """An object has more bytes than are taken."""


class StoreRefuses(ObjectError):
    """The store will not do it, however often it is asked: no such bucket, no credentials, access denied."""


class CredentialsError(StoreRefuses):
    """There are no credentials, or the store does not take them."""


class StoreFaulty(ObjectError):
    """The store made an error of its own or broke off, at every attempt."""


class StoreUnavailable(StoreFaulty):
    """The store is overloaded or does not answer, at every attempt."""


class LakeInUse(StreamingError):
    """Another process ingests into the lake or erases from it."""


class DamagedCheckpoint(StreamingError):
    """A streaming query's checkpoint is not what Spark has written."""


class RecordsLost(StreamingError):
    """The topic no longer holds records that were not taken yet, or is not the one it was."""


class UnreadableRecord(StreamingError):
    """Spark cannot read a record of the topic."""


class NoRejects(StreamingError):
    """No rejected upload is meant, or it cannot be had."""


class UnknownUser(StreamingError):
    """The ledger holds nothing of a user."""


class MetricsUnavailable(StreamingError):
    """Metrics cannot be served where the settings want them."""
