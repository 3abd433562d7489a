"""Batches of predictions by device; the list of GPUs is given, because the machine may have none."""

import pytest

from models.nets.devices import prediction_batch


@pytest.mark.parametrize(
    ("gpus", "side", "expected"),
    [(0, 32, 64), (0, 224, 64), (1, 224, 256), (1, 448, 64), (1, 112, 1024), (2, 32, 2048)],
)
def test_a_gpu_predicts_more_small_pictures_at_a_time(
    gpus: int, side: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU"] * gpus)
    assert prediction_batch(side) == expected
