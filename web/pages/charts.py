"""Charts as SVG: places of lines and bars, which templates draw. Sizes are in units of the drawing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from web.data.browse.activity import Cell, Rate
from web.data.browse.model_results import Epoch

WIDTH, HEIGHT = 640, 220
# Name, class, and points; a value is None where nothing was measured.
_Series = tuple[str, str, Sequence[tuple[float, float | None]]]
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 26


@dataclass(frozen=True)
class Line:
    """A line: its name, the class that gives its colour, and its points as SVG writes them."""

    name: str
    kind: str
    points: str


@dataclass(frozen=True)
class Tick:
    """A mark at an axis: its place and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class LineChart:
    """Lines over epochs."""

    lines: tuple[Line, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    bottom: int = HEIGHT - _BOTTOM


@dataclass(frozen=True)
class Bar:
    """Two parts of a bar on top of each other: left edge, width, tops and heights, and what it says."""

    x: float
    width: float
    accepted_y: float
    accepted_height: float
    rejected_y: float
    rejected_height: float
    text: str


@dataclass(frozen=True)
class Spot:
    """A place on the map: its centre, radius, and what it says."""

    x: float
    y: float
    radius: float
    geohash: str
    uploads: int


@dataclass(frozen=True)
class CellMap:
    """Geohash cells on a map of the part of the earth that has any, with lines of latitude and longitude."""

    width: int
    height: int
    spots: tuple[Spot, ...]
    meridians: tuple[Tick, ...]
    parallels: tuple[Tick, ...]


def accuracy_chart(models: Sequence[tuple[str, Sequence[Epoch]]]) -> LineChart:
    """Validation accuracy over epochs; of one model also its training accuracy."""
    series: list[_Series] = [
        (name, f"line-{place % 6}", [(each.epoch, each.validation_accuracy) for each in history])
        for place, (name, history) in enumerate(models)
    ]
    if len(models) == 1:
        history = models[0][1]
        series = [
            ("validation", "line-0", series[0][2]),
            ("training", "line-1", [(each.epoch, each.accuracy) for each in history]),
        ]
    return _chart(series, 0.0, 1.0, "{:.0%}")


def loss_chart(history: Sequence[Epoch]) -> LineChart:
    """Loss over epochs."""
    series: list[_Series] = [
        ("validation", "line-0", [(each.epoch, each.validation_loss) for each in history]),
        ("training", "line-1", [(each.epoch, each.loss) for each in history]),
    ]
    finite = [
        value for _, _, points in series for _, value in points if value is not None and math.isfinite(value)
    ]
    return _chart(series, 0.0, max(finite, default=1.0) * 1.05 or 1.0, "{:.2g}")


def calibration_chart(bins: Sequence[dict[str, float | None]]) -> LineChart:
    """Accuracy over the probability that the model gives, beside the diagonal of a calibrated model."""
    points = [(each["probability"] or 0.0, each["accuracy"]) for each in bins if each["accuracy"] is not None]
    series: list[_Series] = [
        ("this model", "line-0", list(points)),
        ("calibrated", "line-even", [(0.0, 0.0), (1.0, 1.0)]),
    ]
    return _chart(series, 0.0, 1.0, "{:.0%}", first=0.0, last=1.0)


def _chart(
    series: Sequence[_Series],
    low: float,
    high: float,
    written: str,
    first: float | None = None,
    last: float | None = None,
) -> LineChart:
    xs = [x for _, _, points in series for x, _ in points]
    begin = min(xs, default=0.0) if first is None else first
    end = max([*xs, begin + 1]) if last is None else last

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - begin) / (end - begin) * (WIDTH - _LEFT - _RIGHT)
        inside = min(max(y, low), high)
        return across, HEIGHT - _BOTTOM - (inside - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    lines = tuple(
        Line(
            name,
            kind,
            " ".join(
                "{:.1f},{:.1f}".format(*place(x, y)) for x, y in points if y is not None and math.isfinite(y)
            ),
        )
        for name, kind, points in series
    )
    x_ticks = (
        tuple(Tick(place(share, low)[0], f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1))
        if last is not None
        else tuple(Tick(place(epoch, low)[0], str(epoch)) for epoch in _epochs(int(begin), int(end)))
    )
    y_ticks = tuple(
        Tick(place(begin, value)[1], written.format(value))
        for value in (low + (high - low) * part / 4 for part in range(5))
    )
    return LineChart(lines, x_ticks, y_ticks)


def _epochs(begin: int, end: int) -> range:
    """At most ten epochs at round distances."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if (end - begin) / step <= 10)
    return range(begin if step == 1 else math.ceil(begin / step) * step, end + 1, step)


def rate_bars(rate: Rate, width: int = WIDTH, height: int = 120) -> tuple[Bar, ...]:
    """Bars of accepted uploads with the rejected ones on top."""
    if not rate.spans:
        return ()
    each, scale = width / len(rate.spans), height / max(rate.most, 1)
    bars = []
    for place, span in enumerate(rate.spans):
        low, top = span.accepted * scale, span.rejected * scale
        text = f"{span.begun:%Y-%m-%d %H:%M}: {span.accepted:,} accepted, {span.rejected:,} rejected"
        bars.append(Bar(place * each, max(each - 2, 1), height - low, low, height - low - top, top, text))
    return tuple(bars)


def cell_map(cells: Sequence[Cell]) -> CellMap | None:
    """Cells in equirectangular projection, zoomed to them; None without any."""
    if not cells:
        return None
    west, east = min(each.west for each in cells), max(each.east for each in cells)
    south, north = min(each.south for each in cells), max(each.north for each in cells)
    # Twice as wide as high, as the earth is on such a map; with a margin.
    tall = min(180.0, max(north - south, (east - west) / 2, 0.5) * 1.2)
    middle_x, middle_y = (west + east) / 2, min(max((south + north) / 2, tall / 2 - 90), 90 - tall / 2)
    scale = WIDTH / 2 / tall
    height = WIDTH // 2

    def place(longitude: float, latitude: float) -> tuple[float, float]:
        return WIDTH / 2 + (longitude - middle_x) * scale, height / 2 - (latitude - middle_y) * scale

    most = max(each.uploads for each in cells)
    spots = []
    for each in cells:
        x, y = place((each.west + each.east) / 2, (each.south + each.north) / 2)
        radius = max((each.east - each.west) * scale / 2, 4 + 10 * math.sqrt(each.uploads / most))
        spots.append(Spot(round(x, 1), round(y, 1), round(radius, 1), each.geohash, each.uploads))
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 45) if 2 * tall / step <= 10)
    return CellMap(
        WIDTH,
        height,
        tuple(spots),
        _lines(middle_x - tall, middle_x + tall, step, "EW", lambda degree: place(degree, 0)[0]),
        _lines(middle_y - tall / 2, middle_y + tall / 2, step, "NS", lambda degree: place(0, degree)[1]),
    )


def _lines(
    low: float, high: float, step: float, letters: str, place: Callable[[float], float]
) -> tuple[Tick, ...]:
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return tuple(Tick(round(place(number * step), 1), _degrees(number * step, letters)) for number in numbers)


def _degrees(value: float, letters: str) -> str:
    rounded = round(value, 6)
    return f"{abs(rounded):g}° {letters[rounded < 0]}" if rounded else "0°"
