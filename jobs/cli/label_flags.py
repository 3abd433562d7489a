"""Flags about labels: where `hub push` finds them, and lists of labels to choose."""

import csv
from collections.abc import Callable
from typing import Any

import click

from conf.errors import UsageError
from lake.errors import BadLabel
from lake.label_slug import label_slug


def label_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --label-pattern, --label-from, --labels-from, --label-map and --follow-links to a command."""
    for option in (
        click.option("--follow-links", is_flag=True, help="Also read links that lead out of the folder."),
        click.option(
            "--label-map", metavar="FILE", help="CSV of name,label: names that are replaced, or left out."
        ),
        click.option(
            "--labels-from", metavar="FILE",
            help="Labels of paths: CSV (path,label), JSON lines, COCO's or Open Images' files.",
        ),
        click.option(
            "--label-from", metavar="folder:N", help="Label is the N-th folder, -2: above the picture's own."
        ),
        click.option("--label-pattern", metavar="REGEX", help="Label of a file name: the group `label`."),
    ):  # fmt: skip
        command = option(command)
    return command


def parse_labels(text: str, otherwise: str) -> list[str]:
    """The slugs of the labels in a flag: names or slugs, separated by commas.

    A name that has a comma is in double quotes.

    Args:
        otherwise: what to do without a label, for the message.

    Raises:
        UsageError: it names no label, or what cannot be one.
    """
    try:
        (names,) = csv.reader([text.replace("\n", " ")], skipinitialspace=True, strict=True)
        slugs = [label_slug(name) for name in names if name.strip()]
    except (BadLabel, csv.Error, ValueError) as error:
        raise UsageError(f"--labels {text!r}: {error}") from None
    if not slugs:
        raise UsageError(f"--labels {text!r} names no label: {otherwise}")
    return list(dict.fromkeys(slugs))
