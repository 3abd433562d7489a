"""Progress of a training: a bar on a terminal, lines in a log."""

import io
from types import SimpleNamespace

import pytest

from models.messages import EpochEnded, Message, Started, Stepped, Working
from models.runs import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def epoch(number: int, validation: float | None = 0.5, worker: int = 0) -> EpochEnded:
    return EpochEnded(worker, number, 1.25, 0.4375, 1.5, validation, 0.1, 2.0, 1234.5)


def shown(stream: io.StringIO, *messages: Message, quiet: bool = False) -> str:
    display = progress_bar.create_display(2, quiet, stream)
    for message in messages:
        display.show(message)
    display.note("worker 1 was lost; resuming after epoch 1")
    display.close()
    return stream.getvalue()


def test_a_log_has_a_line_at_most_every_30_seconds_and_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 100.0, 110.0, 135.0, 135.0, 140.0, 140.0])
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=lambda: next(now)))
    lines = shown(
        io.StringIO(),
        Started(0, 4, 74, 64, 0),
        Working(0, "validating epoch 1"),
        Stepped(0, 1, 3, 600.0, 2.0, 0.2),
        epoch(1),
        epoch(1, worker=1),
        epoch(2),  # ten seconds after the first
        epoch(3, validation=None),
        epoch(4),  # the last
    )
    assert lines.splitlines() == [
        "training: 4 epochs of 74 steps",
        "epoch 1 of 4: 1,234 images/s, loss 1.250, accuracy 0.438, 0.500 in validation",
        "epoch 3 of 4: 1,234 images/s, loss 1.250, accuracy 0.438",
        "epoch 4 of 4: 1,234 images/s, loss 1.250, accuracy 0.438, 0.500 in validation",
        "worker 1 was lost; resuming after epoch 1",
    ]


def test_a_log_says_where_a_training_is_resumed() -> None:
    assert shown(io.StringIO(), Started(0, 4, 74, 64, 2)).startswith(
        "training: 4 epochs of 74 steps, resumed after epoch 2\n"
    )


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_only_notes_are_written_with_quiet(stream: io.StringIO) -> None:
    assert shown(stream, Started(0, 4, 74, 64, 0), epoch(1), quiet=True) == (
        "worker 1 was lost; resuming after epoch 1\n"
    )


def test_a_terminal_has_a_bar() -> None:
    text = shown(Terminal(), Started(0, 4, 74, 64, 0), Stepped(0, 1, 3, 600.0, 2.0, 0.2), epoch(1))
    assert "\r" in text and "1,200 images/s, loss 2.000, accuracy 0.200" in text and "74/296" in text
    assert "worker 1 was lost" in text
