"""Errors of embeddings, their index, and what is organized as uploads arrive."""

from conf.errors import HubError, UsageError


class OrganizeError(HubError):
    """Samples cannot be organized as asked."""


class StageFailed(OrganizeError):
    """A stage for new images failed; they are given to it again."""


class UnusableEmbedder(OrganizeError, UsageError):
    """The network that embeds pictures does not exist or cannot be used."""

    exit_status = 1


class UnusableVectors(OrganizeError):
    """Vectors are not those of one model: their lengths differ, or they are no float16 numbers."""


class UnusableIndex(OrganizeError):
    """The local index of embeddings cannot be read, written or brought up to date."""


class UnknownImage(OrganizeError):
    """No sample or embedding has this id, and no file this name."""


class BadDecision(OrganizeError):
    """A decision about labels cannot be taken; nothing was changed."""

    exit_status = 2


class NothingToCheck(OrganizeError):
    """There are too few images, labels or embeddings to cluster samples or to judge their labels."""


class ErasedMeanwhile(OrganizeError):
    """Images were erased while something was computed of them, which is therefore not written."""
