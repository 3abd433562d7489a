"""What a label check says of a picture: quality of its label, a suggested label, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organize.labels.probe import Floats


@dataclass(frozen=True)
class LabelVerdict:
    """A row of the result.

    Args:
        quality: 0 to 1, the probability of the picture's label.
        suggested: label that the picture probably has; None if its own is believed.
        reason: why a label is suggested; None without one.
    """

    quality: float
    suggested: str | None = None
    reason: str | None = None


def of_cross_validation(
    names: Sequence[str], labels: NDArray[np.int64], probabilities: Floats, quality: Floats,
    issues: NDArray[np.bool_], near: Floats, judge: str,
) -> list[LabelVerdict]:  # fmt: skip
    """Verdicts on judged labels.

    Args:
        names: of the labels.
        labels: label index of each row.
        probabilities, quality, issues: of the judgement.
        near: shares of the labels among similar pictures, (rows, labels); (0, 0) if that was not asked.
        judge: who judged, for the reason.
    """
    best = probabilities.argmax(axis=1)
    verdicts = []
    for row, label in enumerate(labels):
        other = int(best[row])
        if not issues[row] or other == label:
            verdicts.append(LabelVerdict(float(quality[row])))
            continue
        reason = _reason(
            judge, names[other], probabilities[row, other], names[label], probabilities[row, label]
        )
        if len(near):
            reason += f"; of similar pictures {near[row, other]:.0%} are {names[other]}"
        verdicts.append(LabelVerdict(float(quality[row]), names[other], reason))
    return verdicts


def of_scores(
    names: Sequence[str], labels: Sequence[str | None], probabilities: Floats, thresholds: Floats, judge: str
) -> list[LabelVerdict | None]:
    """Verdicts on labels of new pictures; None for a label that the model does not know.

    A label is suggested if it is as probable as for pictures that have it, and the picture's own is less
    probable than for pictures that have that (confident learning's rule).

    Args:
        names: labels of the model's outputs.
        labels: of the pictures; None for a picture of which the label is unknown.
        probabilities: float32 (rows, labels).
        thresholds: of each label.
        judge: who judged, for the reason.
    """
    index = {name: position for position, name in enumerate(names)}
    best = probabilities.argmax(axis=1)
    verdicts: list[LabelVerdict | None] = []
    for row, label in enumerate(labels):
        other, sure = int(best[row]), probabilities[row, best[row]] >= thresholds[best[row]]
        if label is None:
            why = f"{judge}: {names[other]} {probabilities[row, other]:.0%}, and it has no label yet"
            verdicts.append(LabelVerdict(0.0, names[other], why) if sure else None)
        elif label not in index:
            verdicts.append(None)
        else:
            own = index[label]
            quality = float(probabilities[row, own])
            if other == own or not sure or quality >= thresholds[own]:
                verdicts.append(LabelVerdict(quality))
            else:
                why = _reason(judge, names[other], probabilities[row, other], label, quality)
                verdicts.append(LabelVerdict(quality, names[other], why))
    return verdicts


def _reason(judge: str, other: str, other_share: float, label: str, share: float) -> str:
    return f"{judge}: {other} {other_share:.0%}, {label} {share:.0%}"
