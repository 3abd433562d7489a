"""The steps of an epoch: figures, readings, divergence. Steps are functions; the message channel is real."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from models.errors import Diverged
from models.messages import Alive, Stepped
from models.pictures.inputs import BatchSchedule
from models.workers.message_channel import MessageServer, Reporter
from models.workers.step_loop import EpochFigures, ReadingPace, StepLoop
from tests.support.waiting import wait_until

STEPS = 40


@pytest.fixture
def channel() -> Iterator[tuple[MessageServer, Reporter]]:
    """A message server and a reporter that is connected to it."""
    server = MessageServer("127.0.0.1")
    with Reporter(("127.0.0.1", server.port), server.authkey) as reporter:
        yield server, reporter
    server.close()


def epoch(reporter: Reporter, losses: list[float], pace: ReadingPace) -> EpochFigures:
    import tensorflow as tf

    def step(loss: float, correct: float) -> Any:
        return tf.constant([loss, correct], tf.float32)

    loop = StepLoop(step, BatchSchedule(4, len(losses)), 0, reporter, pace)
    return loop.run(1, iter([(loss, 2.0) for loss in losses]))


def test_figures_do_not_depend_on_how_often_they_are_read(channel: tuple[MessageServer, Reporter]) -> None:
    losses = np.random.default_rng(1).random(STEPS).tolist()
    often, rarely = ReadingPace(), ReadingPace(32)
    found = [epoch(channel[1], losses, pace) for pace in (often, rarely)]
    assert found[0].loss == found[1].loss == pytest.approx(sum(losses), rel=1e-6)
    assert {(row.correct, row.pictures) for row in found} == {(2.0 * STEPS, 4 * STEPS)}
    assert all(0 <= row.waited <= row.seconds for row in found)


def test_every_step_counts_as_progress_and_first_and_last_are_reported(
    channel: tuple[MessageServer, Reporter],
) -> None:
    server, reporter = channel
    epoch(reporter, [1.0] * STEPS, ReadingPace(16))
    received: list[Any] = []

    def all_counted() -> bool:
        while message := server.receive(0.05):
            received.append(message.message)
        return any(isinstance(message, Alive) and message.moves == STEPS for message in received)

    assert wait_until(all_counted, 10), "the heartbeat does not say that all steps are done"
    steps = [message.step for message in received if isinstance(message, Stepped)]
    assert steps[0] == 1 and steps[-1] == STEPS


@pytest.mark.parametrize("pace", [1, 64])
def test_a_loss_that_is_not_finite_ends_the_epoch(pace: int, channel: tuple[MessageServer, Reporter]) -> None:
    losses = [1.0] * 10 + [float("nan")] + [1.0] * 10
    with pytest.raises(Diverged, match="the loss is nan in epoch 1; try a lower --learning-rate"):
        epoch(channel[1], losses, ReadingPace(pace))


def test_fast_steps_are_read_rarely_and_slow_ones_each() -> None:
    pace = ReadingPace()
    for expected in (2, 4, 8, 16, 25, 25):  # steps of 10 ms: 25 in a quarter of a second
        pace.update(pace.steps, pace.steps * 0.01)
        assert pace.steps == expected
    pace.update(25, 25 * 0.2)
    assert pace.steps == 1
    pace.update(1, 3.0)
    assert pace.steps == 1
