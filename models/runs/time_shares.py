"""What share of a training's time was compute, input, exchange and measuring. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

from models.messages import EpochEnded


@dataclass(frozen=True)
class TimeShares:
    """Shares of the time of epochs; they sum to 1.

    Args:
        compute: forward, backward and update; also waiting for slower workers.
        input: waiting for batches.
        exchange: of gradients and moments, as measured between idle devices.
        measuring: validation and checkpoints.
    """

    compute: float
    input: float
    exchange: float
    measuring: float

    @classmethod
    def of(cls, epochs: Sequence[EpochEnded]) -> Self:
        """From the metrics of at least one epoch."""
        total = sum(row.seconds + row.measuring_seconds for row in epochs)
        waited = sum(row.seconds * row.input_wait_share for row in epochs) / total
        measured = sum(row.measuring_seconds for row in epochs) / total
        exchanged = sum(row.seconds * row.exchange_share for row in epochs) / total
        exchanged = min(exchanged, 1 - waited - measured)
        return cls(1 - waited - measured - exchanged, waited, exchanged, measured)

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, float]) -> Self | None:
        """From a model's metrics (`as_metrics`); None if they are of a model without shares."""
        names = {field.name: f"{field.name}_share" for field in fields(cls)}
        if not all(metric in metrics for metric in names.values()):
            return None
        return cls(**{name: metrics[metric] for name, metric in names.items()})

    @property
    def as_metrics(self) -> dict[str, float]:
        """The shares under the names that the registry keeps."""
        return {f"{name}_share": share for name, share in asdict(self).items()}

    def __str__(self) -> str:
        return (
            f"compute {self.compute:.0%}, input {self.input:.0%}, exchange {self.exchange:.0%}, "
            f"measuring {self.measuring:.0%}"
        )
