"""Exceptions of the lake."""

from conf.errors import HubError


class LakeError(HubError):
    """The lake cannot be read or written as asked."""


class StorageError(LakeError):
    """A path or URI cannot be used."""


class InUse(LakeError):
    """Another process holds the lock or the lease."""


class UnknownDataset(LakeError):
    """No dataset has this id."""


class NothingToOrganize(LakeError):
    """A dataset snapshot has no label or too few images."""


class SplitsInUse(LakeError):
    """Splits cannot change, because a model was trained on them."""


class DatasetInUse(LakeError):
    """A dataset cannot be deleted, because a model names it."""


class DamagedSnapshot(LakeError):
    """A dataset snapshot lacks its manifest or a shard, or a shard differs from the manifest."""


class JobFailed(LakeError):
    """A Spark job failed; the message names the first cause."""


class SparkUnavailable(LakeError):
    """No Spark session can be started."""


class BadQuery(LakeError):
    """Spark SQL cannot parse or run a statement."""

    exit_status = 2


class BadLabel(LakeError):
    """No slug can be made of a label."""

    exit_status = 2


class UndecodablePicture(LakeError):
    """A picture cannot be decoded; the message says what is wrong with it."""


class TruncatedPicture(UndecodablePicture):
    """The end of a picture is missing."""


class TooManyPixels(UndecodablePicture):
    """A picture states more pixels than are decoded."""
