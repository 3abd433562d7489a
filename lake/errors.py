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


class DamagedSnapshot(LakeError):
    """A dataset snapshot lacks its manifest or a shard, or a shard differs from the manifest."""


class SparkUnavailable(LakeError):
    """No Spark session can be started."""


class BadQuery(LakeError):
    """Spark SQL cannot parse or run a statement."""

    exit_status = 2
