"""Contact sheets: pictures with captions in sections, as a PNG; and that of the most confident mistakes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from lake.pictures.contact_sheet import shortened, square
from lake.snapshot import DatasetSnapshot, Split
from models.evaluation.metrics import Evaluation, Mistake

MAX_SHOWN = 24  # pictures
COLUMNS = 6
SIDE = 160  # of a picture on the sheet (pixels)
CAPTION_HEIGHT = 46  # height of the two lines below a picture
GAP = 12
TITLE_HEIGHT = 62
HEADING_HEIGHT = 30
INK, PAPER, FRAME, TRUE, PREDICTED = "#222222", "#ffffff", "#d0d0d0", "#1a7f37", "#b42318"


@dataclass(frozen=True)
class Line:
    """A line of a caption; only `text` is shortened where the line is too long."""

    text: str
    prefix: str = ""
    suffix: str = ""
    ink: str = INK


@dataclass(frozen=True)
class Tile:
    """A picture and the lines below it, two at most.

    Args:
        content: the encoded picture; None draws an empty square.
        lines: of the caption.
    """

    content: bytes | None
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Section:
    """Pictures under a heading; an empty heading takes no place."""

    heading: str
    tiles: Sequence[Tile]

    @property
    def height(self) -> int:
        """Height on the sheet (pixels)."""
        rows = -(-len(self.tiles) // COLUMNS)
        return (HEADING_HEIGHT if self.heading else 0) + rows * (SIDE + CAPTION_HEIGHT + GAP)


def draw_sheet(title: str, subtitle: str, sections: Sequence[Section]) -> bytes:
    """Draw pictures in sections, six in a row.

    Returns:
        a PNG, 1044 pixels wide; only the titles if there are no sections.
    """
    size = (GAP + COLUMNS * (SIDE + GAP), TITLE_HEIGHT + sum(section.height for section in sections))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 10), title, INK, _font(17, bold=True))
    draw.text((GAP, 34), subtitle, INK, _font(14))
    top = TITLE_HEIGHT
    for section in sections:
        _draw_section(sheet, draw, section, top)
        top += section.height
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _draw_section(sheet: Image.Image, draw: ImageDraw.ImageDraw, section: Section, top: int) -> None:
    if section.heading:
        font = _font(14, bold=True)
        draw.text((GAP, top + 5), shortened(draw, section.heading, sheet.width - 2 * GAP, font), INK, font)
        top += HEADING_HEIGHT
    for position, tile in enumerate(section.tiles):
        left = GAP + position % COLUMNS * (SIDE + GAP)
        above = top + position // COLUMNS * (SIDE + CAPTION_HEIGHT + GAP)
        sheet.paste(square(tile.content, SIDE), (left, above))
        draw.rectangle((left - 1, above - 1, left + SIDE, above + SIDE), outline=FRAME)
        _caption(draw, tile.lines, left, above + SIDE + 4)


def mistakes_sheet(evaluation: Evaluation, snapshot: DatasetSnapshot, name: str) -> bytes:
    """Draw the most confident mistakes on the test split, with true label, predicted label and probability.

    Args:
        evaluation: of the whole test split, in its order.
        snapshot: the dataset snapshot with the pictures.
        name: of the model, for the title.

    Returns:
        a PNG, 1044 pixels wide; only a title if there are no mistakes.
    """
    shown = evaluation.mistakes[:MAX_SHOWN]
    tiles = [Tile(_read_jpeg(snapshot, mistake.row), _lines(mistake)) for mistake in shown]
    return draw_sheet(name, _subtitle(evaluation, len(shown)), [Section("", tiles)] if tiles else [])


def _subtitle(evaluation: Evaluation, shown: int) -> str:
    wrong = len(evaluation.mistakes)
    if not wrong:
        return f"no mistakes on {evaluation.pictures:,} test pictures"
    selection = "all of them" if wrong == shown else f"the {shown} most confident"
    return (
        f"{wrong:,} of {evaluation.pictures:,} test pictures misclassified; {selection}, most confident first"
    )


def _lines(mistake: Mistake) -> tuple[Line, Line]:
    share = f" ({mistake.probability:.0%})"
    return Line(mistake.label, "true ", "", TRUE), Line(mistake.predicted, "predicted ", share, PREDICTED)


def _read_jpeg(snapshot: DatasetSnapshot, row: int) -> bytes:
    batch = next(iter(snapshot.batches(Split.TEST, row, row + 1)))
    content: bytes = batch["jpeg"][0].as_py()
    return content


def _caption(draw: ImageDraw.ImageDraw, lines: Sequence[Line], left: int, top: int) -> None:
    font = _font(14)
    for number, line in enumerate(lines):
        width = SIDE - draw.textlength(line.prefix + line.suffix, font)
        text = line.prefix + shortened(draw, line.text, width, font) + line.suffix
        draw.text((left, top + 19 * number), text, line.ink, font)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font, so that the sheet matches the plots and is the same on every machine."""
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)
