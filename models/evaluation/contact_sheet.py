"""Contact sheet of the most confident mistakes: misclassified pictures with true and predicted label."""

import io
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from lake.pictures import pixels
from lake.snapshot import DatasetSnapshot, Split
from models.evaluation.metrics import Evaluation, Mistake

MAX_SHOWN = 24  # pictures
COLUMNS = 6
SIDE = 160  # of a picture on the sheet (pixels)
CAPTION_HEIGHT = 46  # height of the two lines below a picture
GAP = 12
TITLE_HEIGHT = 62
INK, PAPER, FRAME, TRUE, PREDICTED = "#222222", "#ffffff", "#d0d0d0", "#1a7f37", "#b42318"


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
    rows = max(1, -(-len(shown) // COLUMNS))
    size = (
        GAP + COLUMNS * (SIDE + GAP),
        TITLE_HEIGHT + (rows * (SIDE + CAPTION_HEIGHT + GAP) if shown else 0),
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 10), name, INK, _font(17, bold=True))
    draw.text((GAP, 34), _subtitle(evaluation, len(shown)), INK, _font(14))
    for position, mistake in enumerate(shown):
        left = GAP + position % COLUMNS * (SIDE + GAP)
        top = TITLE_HEIGHT + position // COLUMNS * (SIDE + CAPTION_HEIGHT + GAP)
        sheet.paste(_picture(_read_jpeg(snapshot, mistake.row)), (left, top))
        draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline=FRAME)
        _caption(draw, mistake, left, top + SIDE + 4)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _subtitle(evaluation: Evaluation, shown: int) -> str:
    wrong = len(evaluation.mistakes)
    if not wrong:
        return f"no mistakes on {evaluation.pictures:,} test pictures"
    selection = "all of them" if wrong == shown else f"the {shown} most confident"
    return (
        f"{wrong:,} of {evaluation.pictures:,} test pictures misclassified; {selection}, most confident first"
    )


def _read_jpeg(snapshot: DatasetSnapshot, row: int) -> bytes:
    batch = next(iter(snapshot.batches(Split.TEST, row, row + 1)))
    content: bytes = batch["jpeg"][0].as_py()
    return content


def _picture(content: bytes) -> Image.Image:
    """The whole picture on a grey square; small pictures are enlarged without smoothing."""
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
    for line, (prefix, label, suffix, ink) in enumerate(
        (("true ", mistake.label, "", TRUE), ("predicted ", mistake.predicted, share, PREDICTED))
    ):
        width = SIDE - draw.textlength(prefix + suffix, font)
        draw.text((left, top + 19 * line), prefix + _shorten(draw, label, width, font) + suffix, ink, font)


def _shorten(draw: ImageDraw.ImageDraw, text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """The text, shortened to the available width (pixels)."""
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font, so that the sheet matches the plots and is the same on every machine."""
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)
