"""A chart of an answer: bars of the first column of numbers, named by the first other column."""

from dataclasses import dataclass

from web.sql.queries import Answer

WIDTH, BAR, GAP, NAME, VALUE = 640, 22, 6, 200, 80  # pixels of the SVG's own units
_BARS = 40


@dataclass(frozen=True)
class Bar:
    """A bar: its name, its value, and where it is drawn."""

    name: str
    value: float
    y: int
    x: float
    width: float


@dataclass(frozen=True)
class Chart:
    """Bars with their common size; `zero` is where values begin, `left_out` counts further rows."""

    bars: tuple[Bar, ...]
    height: int
    zero: float
    left_out: int


def bars(answer: Answer) -> Chart | None:
    """The chart of an answer; None if it has no column of numbers with a column beside it."""
    numeric = [place for place, _ in enumerate(answer.columns) if _is_numeric(answer, place)]
    others = [place for place, _ in enumerate(answer.columns) if place not in numeric]
    if not numeric or not (others or len(numeric) > 1):
        return None
    name, value = (others[0], numeric[0]) if others else (numeric[0], numeric[1])
    rows = [row for row in answer.rows if row[value] is not None]
    if not rows:
        return None
    shown = [float(row[value]) for row in rows[:_BARS]]
    low, high = min(0.0, *shown), max(0.0, *shown)
    scale = (WIDTH - NAME - VALUE) / ((high - low) or 1.0)
    zero = NAME - low * scale
    made = tuple(
        Bar(
            _short(row[name]),
            number,
            place * (BAR + GAP),
            zero + min(0.0, number) * scale,
            abs(number) * scale,
        )
        for place, (row, number) in enumerate(zip(rows, shown, strict=False))
    )
    return Chart(made, len(made) * (BAR + GAP), zero, len(rows) - len(made))


def _is_numeric(answer: Answer, place: int) -> bool:
    values = [row[place] for row in answer.rows if row[place] is not None]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _short(value: object) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= 28 else f"{text[:27]}…"
