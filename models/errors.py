"""What can go wrong with models."""

from conf.errors import HubError, UsageError


class ModelError(HubError):
    """A model cannot be trained, found or used as asked."""


class NotTrainable(ModelError, UsageError):
    """The dataset or the plan cannot be trained on; said before any cluster time is spent."""

    exit_status = 1


class UnfitStart(ModelError, UsageError):
    """What a run is to start from cannot be read or does not fit; said before any cluster time is spent."""

    exit_status = 1


class ForeignCheckpoint(ModelError):
    """A checkpoint is of another architecture, dataset or run than the one that is to go on from it."""


class RunInUse(ModelError):
    """Another process trains this very run."""


class ClusterTooSmall(ModelError):
    """The Spark cluster has fewer executors than the training asks for workers."""


class TrainingFailed(ModelError):
    """A training run ended early; the message carries the first cause, not what followed from it."""


class Diverged(TrainingFailed):
    """Loss or weights are no finite numbers any more; the same command would end the same way."""


class UnknownModel(ModelError):
    """No model has this id."""


class UnusableModel(ModelError):
    """A model is not ready: it is being trained, has failed or is retired."""


class ExportRefused(ModelError):
    """What an export is asked for is not there, or its target holds something already."""


class UnreadablePicture(ModelError):
    """A picture to predict cannot be read or decoded."""
