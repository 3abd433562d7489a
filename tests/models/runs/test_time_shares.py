"""Shares of a training's time, worked out on paper."""

import pytest

from models.messages import EpochEnded
from models.runs.time_shares import TimeShares


def ended(seconds: float, waited: float, exchange: float, measuring: float) -> EpochEnded:
    return EpochEnded(0, 1, 1.0, 0.5, 1.1, 0.4, 0.1, seconds, 90.0, waited, exchange, measuring)


def test_shares_are_of_the_whole_time_of_all_epochs() -> None:
    # 18 s and 8 s: input 1.8 + 2, exchange 3.6 + 0, measuring 2 + 2, of 30 s
    found = TimeShares.of([ended(18, 0.1, 0.2, 2), ended(8, 0.25, 0, 2)])
    assert found.input == pytest.approx(3.8 / 30)
    assert found.exchange == pytest.approx(3.6 / 30)
    assert found.measuring == pytest.approx(4 / 30)
    assert found.compute == pytest.approx(18.6 / 30)
    assert str(found) == "compute 62%, input 13%, exchange 12%, measuring 13%"


def test_an_exchange_that_computation_hides_leaves_no_negative_share() -> None:
    found = TimeShares.of([ended(9, 0.5, 0.9, 1)])
    assert (found.compute, found.exchange) == pytest.approx((0.0, 0.45))


def test_shares_survive_the_registry() -> None:
    found = TimeShares.of([ended(18, 0.1, 0.2, 2)])
    assert TimeShares.from_metrics(found.as_metrics | {"seconds": 20.0}) == found
    assert TimeShares.from_metrics({"seconds": 20.0, "input_share": 0.1}) is None
