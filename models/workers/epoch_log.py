"""The metrics of an epoch in TensorBoard."""

from models.formats.export import TensorBoardLogs
from models.messages import EpochEnded


def log_epoch(logs: TensorBoardLogs, ended: EpochEnded) -> None:
    """Log an epoch and upload the log."""
    logs.add(
        ended.epoch,
        {
            "loss/train": ended.loss,
            "loss/validation": ended.validation_loss,
            "accuracy/train": ended.accuracy,
            "accuracy/validation": ended.validation_accuracy,
            "learning rate": ended.learning_rate,
            "images per second": ended.images_per_second,
            "input wait share": ended.input_wait_share,
            "exchange share": ended.exchange_share,
        },
    )
