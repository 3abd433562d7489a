"""Plots as PNG: learning curves of one or several models, confusion matrix."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from models.evaluation.metrics import Evaluation
from models.messages import EpochEnded

matplotlib.rcdefaults()  # not those of a matplotlibrc in the current folder or of the user

COLOUR_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)  # ticks of the colour scale
MAX_COUNTED_CLASSES = 25  # most classes for which every cell shows its count
TRAIN, VALIDATION = "#1f77b4", "#d95f02"
PALETTE = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#444444")


def curves(history: Sequence[EpochEnded]) -> bytes:
    """Learning curves: accuracy and loss over the epochs, training and validation.

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


def compare_curves(
    models: Sequence[tuple[str, Sequence[EpochEnded]]], headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> bytes:
    """Learning curves of several models in one picture, above a table of their metrics.

    Drawn over epochs and over training time, on the validation split, or on the training split without one.

    Args:
        models: name and history of each.
        headings: of the table.
        rows: of the table, one per model, names first.

    Returns:
        a PNG, 1680 pixels wide.
    """
    height = 4.6 + 0.3 * (len(rows) + 1)
    figure = Figure(figsize=(14, height), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[4.6, height - 4.6])
    above, below = halves
    accuracy, over_time, loss = above.subplots(1, 3)
    for number, (name, history) in enumerate(models):
        color = PALETTE[number % len(PALETTE)]
        epochs, minutes = [row.epoch for row in history], _minutes(history)
        shares = [_validation_or_training(row.validation_accuracy, row.accuracy) for row in history]
        _line(accuracy, epochs, shares, name, color)
        _line(over_time, minutes, shares, name, color)
        _line(
            loss,
            epochs,
            [_validation_or_training(row.validation_loss, row.loss) for row in history],
            name,
            color,
        )
    for axes, title, x_label in (
        (accuracy, "Validation accuracy", "epoch"),
        (over_time, "Validation accuracy over time", "minutes of training"),
        (loss, "Validation loss", "epoch"),
    ):
        axes.set(title=title, xlabel=x_label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (accuracy, over_time):
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    for axes in (accuracy, loss):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    over_time.set_xlim(left=0)
    if any(history for _, history in models):
        loss.set_yscale("log")
    _table(below.subplots(), headings, rows)
    return _png(figure)


def _validation_or_training(validation: float | None, training: float) -> float:
    return training if validation is None else validation


def _minutes(history: Sequence[EpochEnded]) -> list[float]:
    return [float(value) / 60 for value in np.cumsum([row.seconds for row in history])]


def _table(axes: Any, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw the table; model names have the colours of the curves, so it is also the legend."""
    axes.axis("off")
    if not rows:
        return
    widths = [max(len(row[column]) for row in (headings, *rows)) + 2 for column in range(len(headings))]
    shares = [width / sum(widths) for width in widths]
    drawn = axes.table(
        rows, colLabels=headings, colWidths=shares, cellLoc="left", colLoc="left", loc="upper center"
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7.5)
    drawn.scale(1, 1.3)
    for (row, column), cell in drawn.get_celld().items():
        cell.set(linewidth=0, facecolor="#f2f2f2" if row == 0 else "none")
        if row and column == 0:
            cell.get_text().set(color=PALETTE[(row - 1) % len(PALETTE)], weight="bold")


def _line(axes: Any, epochs: Sequence[float], values: list[Any], name: str, color: str) -> None:
    known = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
    if known:
        marker = "o" if len(known) <= 40 else ""
        axes.plot(*zip(*known, strict=True), label=name, color=color, marker=marker, markersize=3)


def confusion_matrix(evaluation: Evaluation, name: str) -> bytes:
    """Confusion matrix: colours are shares of the true label, numbers are counts of pictures.

    Args:
        evaluation: to draw.
        name: of the model, for the title.

    Returns:
        a PNG that grows with the number of labels.
    """
    classes = len(evaluation.labels)
    show_counts = classes <= MAX_COUNTED_CLASSES
    side = max(5.5, 0.55 * classes if show_counts else 0.17 * classes)
    font = 9 if show_counts else 7
    figure = Figure(figsize=(side + 1.5, side + 0.5), layout="constrained")
    axes = figure.subplots()
    counts = evaluation.confusion
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    scale = PowerNorm(0.4, vmin=0, vmax=1)  # so that few mistakes among many labels are visible
    image = axes.imshow(shares, cmap="Blues", norm=scale)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true label", ticks=COLOUR_TICKS)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xticks(range(classes), evaluation.labels, rotation=90 if not show_counts else 45, fontsize=font)
    axes.set_yticks(range(classes), evaluation.labels, fontsize=font)
    if show_counts:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
        for row, column in zip(*counts.nonzero(), strict=True):
            ink = "white" if scale(shares[row, column]) > 0.6 else "black"
            axes.text(
                column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=font, color=ink
            )
    found = evaluation.accuracy
    accuracy = "no test pictures" if found is None else f"{evaluation.metric} {found:.2%}"
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"{name}\n{accuracy} on {evaluation.pictures} test pictures", fontsize=10)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()
