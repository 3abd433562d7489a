"""Learning-rate schedule: linear scaling with the batch, linear warm-up, cosine decay. Pure."""

import math

REFERENCE_BATCH = 128  # global batch size for which a plan states its learning rate


def peak(learning_rate: float, global_batch: int) -> float:
    """The peak rate, scaled with the global batch (linear scaling rule, Goyal et al. 2017, section 2.1)."""
    return learning_rate * global_batch / REFERENCE_BATCH


def rate(step: int, steps: int, warmup: int, top: float) -> float:
    """The rate of one step: linear warm-up to `top` (Goyal et al. 2017), then cosine decay towards 0.

    Args:
        step: 0 is the first.
        steps: number of steps in the run or stage.
        warmup: warm-up steps; the last of them has the full rate.
        top: the highest rate.
    """
    if step < warmup:
        return top * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return top * (1 + math.cos(math.pi * progress)) / 2


def rates(steps: int, warmup: int, top: float, frozen: int = 0, unfrozen_rate: float = 1.0) -> list[float]:
    """The rates of all steps.

    Args:
        steps: number of steps in the run.
        warmup: warm-up steps; limited to half of each stage.
        top: the highest rate.
        frozen: steps of a first stage that trains only the head; each stage has its own warm-up and decay.
        unfrozen_rate: factor of `top` in the second stage.
    """
    stages = ((frozen, top), (steps - frozen, top * unfrozen_rate))
    return [
        rate(step, length, min(warmup, length // 2), highest)
        for length, highest in stages
        for step in range(length)
    ]
