"""Text tables for a terminal."""

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table


def format_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> str:
    """Format rows as a text table; columns of numbers are right-aligned.

    Args:
        columns: headings.
        rows: one value per column; None is shown as a dash.
    """
    listed = [list(row) for row in rows]
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(columns):
        numbers = all(isinstance(row[position], int | float | None) for row in listed)
        shown.add_column(name, justify="right" if numbers and listed else "left", overflow="fold")
    for row in listed:
        shown.add_row(*(_text(value) for value in row))
    buffer = io.StringIO()
    # FORCE_COLOR would put escape sequences into files.
    Console(file=buffer, width=_width(), highlight=False, force_terminal=False).print(shown)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()).strip("\n")


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("[", "\\[")


def _width() -> int:
    console = Console()
    return console.width if console.is_terminal else 160
