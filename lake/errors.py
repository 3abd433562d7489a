"""What can go wrong with the tables."""

from conf.errors import HubError


class LakeError(HubError):
    """The lake cannot be read or written as asked."""


class StorageError(LakeError):
    """A path or URI cannot be used."""


class InUse(LakeError):
    """Another process holds what only one may have."""


class UnknownDataset(LakeError):
    """No dataset has this id."""


class NothingToOrganize(LakeError):
    """No label or too few images to make a dataset of."""


class DamagedSnapshot(LakeError):
    """A snapshot lacks its manifest or a shard, or holds something else than the manifest says."""


class SparkUnavailable(LakeError):
    """No Spark session can be started."""


class BadQuery(LakeError):
    """Spark SQL does not understand a statement."""

    exit_status = 2
