"""What a dataset shall contain besides labels: a SQL condition, limits, class weights. Imports no Spark."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from conf.errors import UsageError
from lake.errors import BadLabel
from lake.label_slug import label_slug

NO_WEIGHTS = "none"
BALANCED = "balanced"


@dataclass(frozen=True)
class Selection:
    """Which samples of the labels a dataset takes; the defaults take all usable ones.

    Args:
        where: SQL condition on the columns of `samples`; empty for none.
        cap: largest number of images of a label; 0 for no limit. The best are kept, in each split its share.
        without_flags: quality flags; images with one of them are left out.
        min_label_quality: images with a lower label quality are left out; those without one stay.
        best_of_group: only the best image of each group of near duplicates.
        weights: none, balanced, or a CSV file of label,weight.
    """

    where: str = ""
    cap: int = 0
    without_flags: tuple[str, ...] = ()
    min_label_quality: float = 0.0
    best_of_group: bool = False
    weights: str = NO_WEIGHTS

    def filter(self) -> dict[str, object]:
        """What differs from the defaults, for the manifest; without weights, which it has as numbers."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if field.name != "weights" and (value := getattr(self, field.name)) != field.default
        }


def class_weights(weights: str, counts: Mapping[str, int]) -> dict[str, float]:
    """The weight of each label's images in the loss; empty without weights.

    Balanced weights are n / (labels × n of the label), so that all labels count the same and the mean weight
    of an image is 1; source: King, Zeng, "Logistic regression in rare events data", 2001, as scikit-learn's
    `class_weight="balanced"`.

    Args:
        weights: none, balanced, or a file.
        counts: label to number of training images.

    Raises:
        UsageError: the file cannot be read, lacks a label, or has a weight that is not above 0.
    """
    if weights == NO_WEIGHTS:
        return {}
    if weights == BALANCED:
        total, labels = sum(counts.values()), sum(images > 0 for images in counts.values())
        return {
            label: round(total / (labels * images), 6) if images else 1.0 for label, images in counts.items()
        }
    read = _read_weights(Path(weights))
    missing = [label for label in counts if label not in read]
    if missing:
        raise UsageError(f"--weights {weights}: no weight of {missing[0]!r}; add a line {missing[0]},1.0")
    return {label: read[label] for label in counts}


def _read_weights(file: Path) -> dict[str, float]:
    try:
        with file.expanduser().open(encoding="utf-8-sig", newline="") as lines:
            rows = [row for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(f"--weights {file}: {reason}; give balanced, none or a CSV file") from None
    if rows and [cell.strip().lower() for cell in rows[0]] == ["label", "weight"]:
        rows = rows[1:]
    weights = {}
    for row in rows:
        try:
            name, weight = label_slug(row[0]), float(row[1])
        except (BadLabel, ValueError, IndexError):
            raise UsageError(f"--weights {file}: {','.join(row)!r} is not label,weight") from None
        if not (math.isfinite(weight) and weight > 0):
            raise UsageError(f"--weights {file}: the weight of {name!r} is {row[1]}, it must be above 0")
        weights[name] = weight
    return weights
