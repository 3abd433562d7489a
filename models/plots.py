"""Pictures of a training run and of what a model confuses, as PNG."""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from models.evaluation import Evaluation
from models.messages import EpochEnded

SHARES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)  # marked on the colour scale
COUNTED = 25  # classes up to which every cell shows its count
TRAIN, VALIDATION = "#1f77b4", "#d95f02"


def curves(history: Sequence[EpochEnded]) -> bytes:
    """Accuracy and loss over the epochs, training and validation.

    Returns:
        a PNG, 1200 × 480 pixels.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    epochs = [row.epoch for row in history]
    _line(accuracy, epochs, [row.accuracy for row in history], "training", TRAIN)
    _line(accuracy, epochs, [row.validation_accuracy for row in history], "validation", VALIDATION)
    accuracy.set(title="Accuracy", xlabel="epoch", ylim=(0, 1.02))
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    accuracy.legend(loc="lower right", frameon=False)
    _line(loss, epochs, [row.loss for row in history], "training", TRAIN)
    _line(loss, epochs, [row.validation_loss for row in history], "validation", VALIDATION)
    loss.set(title="Loss", xlabel="epoch")
    if any(row.loss > 0 for row in history):
        loss.set_yscale("log")
    for axes in (accuracy, loss):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _line(axes: Any, epochs: list[int], values: list[Any], name: str, color: str) -> None:
    known = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
    if known:
        marker = "o" if len(known) <= 40 else ""
        axes.plot(*zip(*known, strict=True), label=name, color=color, marker=marker, markersize=3)


def confusion(evaluation: Evaluation, name: str) -> bytes:
    """The confusion matrix: colour is the share of the true label, numbers are pictures.

    Args:
        evaluation: to draw.
        name: of the model, for the title.

    Returns:
        a PNG that grows with the number of labels.
    """
    classes = len(evaluation.labels)
    few = classes <= COUNTED
    side = max(5.5, 0.55 * classes if few else 0.17 * classes)
    font = 9 if few else 7
    figure = Figure(figsize=(side + 1.5, side + 0.5), layout="constrained")
    axes = figure.subplots()
    counts = evaluation.confusion
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    scale = PowerNorm(0.4, vmin=0, vmax=1)  # so that a few mistakes among many labels can be seen
    image = axes.imshow(shares, cmap="Blues", norm=scale)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true label", ticks=SHARES)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xticks(range(classes), evaluation.labels, rotation=90 if not few else 45, fontsize=font)
    axes.set_yticks(range(classes), evaluation.labels, fontsize=font)
    if few:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
        for row, column in zip(*counts.nonzero(), strict=True):
            ink = "white" if scale(shares[row, column]) > 0.6 else "black"
            axes.text(
                column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=font, color=ink
            )
    accuracy = "nothing to test on" if evaluation.accuracy is None else f"accuracy {evaluation.accuracy:.2%}"
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"{name}\n{accuracy} on {evaluation.pictures} test pictures", fontsize=10)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()
