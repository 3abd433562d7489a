"""Errors of training, evaluation, export and prediction."""

from conf.errors import HubError, UsageError


class ModelError(HubError):
    """A model cannot be trained, found or used as asked."""


class NotTrainable(ModelError, UsageError):
    """The dataset or the plan cannot be trained on; raised before any cluster time is spent."""

    exit_status = 1


class UnusableInitialWeights(ModelError, UsageError):
    """The initial weights cannot be read or do not fit the plan; raised before any cluster time is spent."""

    exit_status = 1


class UnusableWeights(ModelError, UsageError):
    """Published weights are missing, damaged or not the expected ones."""

    exit_status = 1


class CheckpointMismatch(ModelError):
    """A checkpoint belongs to another architecture, dataset or run than the one that would resume from it."""


class LeaseLost(ModelError):
    """The driver has lost the lease on its run: another command may have taken the run over."""


class ClusterTooSmall(ModelError):
    """The Spark cluster has fewer executors than the training asks for workers."""


class TrainingFailed(ModelError):
    """A training run failed; the message names the first cause, not the failures that it caused."""


class InputProcessLost(RuntimeError):
    """A process that prepares training pictures has ended; the worker is restarted as if it had ended."""


class Diverged(TrainingFailed):
    """The loss or a weight became NaN or infinite; the same command would fail the same way."""


class UnknownModel(ModelError):
    """No model has this id."""


class UnusableModel(ModelError):
    """A model is not ready: it is being trained, has failed or is retired."""


class ExportRefused(ModelError):
    """The requested format does not exist, or the target is not empty."""


class UnreadablePicture(ModelError):
    """A picture to predict cannot be read or decoded."""
