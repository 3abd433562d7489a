"""The learning rate of every step: linear scaling, warm-up, cosine. Pure."""

import math

REFERENCE_BATCH = 128  # the global batch that a plan's learning rate is meant for


def peak(learning_rate: float, global_batch: int) -> float:
    """Scale a rate with the global batch (the linear scaling rule of Goyal et al. 2017, section 2.1)."""
    return learning_rate * global_batch / REFERENCE_BATCH


def rate(step: int, steps: int, warmup: int, top: float) -> float:
    """The rate of one step: a linear climb to `top` (Goyal et al. 2017), then a half cosine towards 0.

    Args:
        step: 0 is the first.
        steps: of the whole run.
        warmup: steps of the climb; the last of them has the full rate.
        top: the highest rate.
    """
    if step < warmup:
        return top * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return top * (1 + math.cos(math.pi * done)) / 2


def rates(steps: int, warmup: int, top: float, frozen: int = 0) -> list[float]:
    """The rates of all steps.

    Args:
        steps: of the whole run.
        warmup: steps of a climb; it never takes more than half of a run or stage.
        top: the highest rate.
        frozen: steps of a first stage, in which the head alone learns; both stages climb and fall.
    """
    stages = (frozen, steps - frozen)
    return [rate(step, stage, min(warmup, stage // 2), top) for stage in stages for step in range(stage)]
