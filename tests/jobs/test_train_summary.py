"""The summary of `hub train`: batch, learning rate, and where the time went."""

import numpy as np

from conf.settings import Settings
from jobs.train import _summary
from models.evaluation.metrics import evaluate
from models.messages import EpochEnded
from models.plan import TrainingPlan
from models.runs.time_shares import TimeShares
from models.runs.train import TrainedModel


def test_batch_learning_rate_and_shares_are_said(settings: Settings) -> None:
    plan = TrainingPlan.of(settings, "any", 2, batch_size=64, learning_rate=0.1)
    one = np.zeros(1, np.int32)
    judged = evaluate(("a", "b"), ("x",), one, one, np.ones(1))
    history = (EpochEnded(0, 1, 1.0, 0.5, 1.1, 0.4, 0.1, 9.0, 90.0, 0.02, 0.1, 1.0),)
    shares = TimeShares.of(history)
    trained = TrainedModel(
        "m", "/lake/artifacts/m", plan, history, judged, 12, 64, 90.0, 0.02, shares, 20.0, 5.0,
        None, 30.0,
    )  # fmt: skip
    lines = _summary(trained).splitlines()
    # 0.1 for a global batch of 128: two workers of 64 have that.
    assert "steps        64 pictures on each worker, learning rate up to 0.1" in lines
    assert "epochs       compute 79%, input 2%, exchange 9%, measuring 10%" in lines
    assert trained.metrics["exchange_share"] == 0.09 and trained.metrics["batch_size"] == 64
    assert trained.peak_rate == 0.1
