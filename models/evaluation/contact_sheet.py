"""A contact sheet: the pictures that a model got most wrong, with what they are and what it said."""

import io
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from lake.pictures import pixels
from lake.snapshot import Snapshot, Split
from models.evaluation.metrics import Evaluation, Mistake

SHOWN = 24
COLUMNS = 6
SIDE = 160  # of a picture on the sheet (pixels)
TEXT = 46  # height of the lines below it
GAP = 12
TITLE = 62
INK, PAPER, FRAME, TRUE, PREDICTED = "#222222", "#ffffff", "#d0d0d0", "#1a7f37", "#b42318"


def mistakes_sheet(evaluation: Evaluation, snapshot: Snapshot, name: str) -> bytes:
    """The surest mistakes on the test split, with true label, predicted label and probability.

    Args:
        evaluation: of the whole split, in its order.
        snapshot: whose pictures are shown.
        name: of the model, for the title.

    Returns:
        a PNG, 1044 pixels wide; without mistakes it says so.
    """
    shown = evaluation.mistakes[:SHOWN]
    rows = max(1, -(-len(shown) // COLUMNS))
    size = (GAP + COLUMNS * (SIDE + GAP), TITLE + (rows * (SIDE + TEXT + GAP) if shown else 0))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 10), name, INK, _font(17, bold=True))
    draw.text((GAP, 34), _counted(evaluation, len(shown)), INK, _font(14))
    for place, mistake in enumerate(shown):
        left = GAP + place % COLUMNS * (SIDE + GAP)
        top = TITLE + place // COLUMNS * (SIDE + TEXT + GAP)
        sheet.paste(_picture(_content(snapshot, mistake.row)), (left, top))
        draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline=FRAME)
        _caption(draw, mistake, left, top + SIDE + 4)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _counted(evaluation: Evaluation, shown: int) -> str:
    wrong = len(evaluation.mistakes)
    if not wrong:
        return f"no mistakes on {evaluation.pictures:,} test pictures"
    which = "all of them" if wrong == shown else f"the surest {shown}"
    return f"{wrong:,} of {evaluation.pictures:,} test pictures called something else; {which}, surest first"


def _content(snapshot: Snapshot, row: int) -> bytes:
    batch = next(iter(snapshot.batches(Split.TEST, row, row + 1)))
    content: bytes = batch["jpeg"][0].as_py()
    return content


def _picture(content: bytes) -> Image.Image:
    """The whole picture on a grey square; small ones are enlarged without blurring their pixels."""
    rgb = Image.fromarray(pixels.decode(content, SIDE))
    scale = SIDE / max(rgb.size)
    size = max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))
    rgb = rgb.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    square = Image.new("RGB", (SIDE, SIDE), "#eeeeee")
    square.paste(rgb, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square


def _caption(draw: ImageDraw.ImageDraw, mistake: Mistake, left: int, top: int) -> None:
    share = f" ({mistake.probability:.0%})"
    font = _font(14)
    for line, (mark, label, end, ink) in enumerate(
        (("is ", mistake.label, "", TRUE), ("called ", mistake.predicted, share, PREDICTED))
    ):
        room = SIDE - draw.textlength(mark + end, font)
        draw.text((left, top + 19 * line), mark + _cut(draw, label, room, font) + end, ink, font)


def _cut(draw: ImageDraw.ImageDraw, text: str, room: float, font: ImageFont.FreeTypeFont) -> str:
    """The text, or as much of its beginning as there is room for."""
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "…", font) > room:
        text = text[:-1]
    return text + "…"


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's own, so that sheet and curves look alike on every machine."""
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)
