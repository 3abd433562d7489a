"""A contact sheet: pictures in rows, each with a caption."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from lake.pictures import pixels

COLUMNS = 7
SIDE = 128  # of a picture (pixels)
GAP, CAPTION_HEIGHT, TITLE_HEIGHT = 10, 36, 40
INK, QUIET, PAPER, FRAME, MISSING = "#222222", "#666666", "#ffffff", "#d0d0d0", "#eeeeee"
EMPHASIS = "#1a5fb4"  # frame of a picture that stands out


@dataclass(frozen=True)
class Tile:
    """A picture of a sheet.

    Args:
        jpeg: the encoded picture; None leaves its place empty.
        title, subtitle: two lines below it; long ones are shortened.
        emphasized: whether its frame stands out.
    """

    jpeg: bytes | None
    title: str
    subtitle: str = ""
    emphasized: bool = False


def draw(title: str, tiles: Sequence[Tile]) -> bytes:
    """Draw a sheet as PNG, 976 pixels wide; only the title if there are no tiles."""
    rows = -(-len(tiles) // COLUMNS)
    size = GAP + COLUMNS * (SIDE + GAP), TITLE_HEIGHT + rows * (SIDE + CAPTION_HEIGHT + GAP)
    sheet = Image.new("RGB", size, PAPER)
    canvas = ImageDraw.Draw(sheet)
    canvas.text((GAP, 12), _shortened(canvas, title, size[0] - 2 * GAP, 16), INK, ImageFont.load_default(16))
    for position, tile in enumerate(tiles):
        left = GAP + position % COLUMNS * (SIDE + GAP)
        top = TITLE_HEIGHT + position // COLUMNS * (SIDE + CAPTION_HEIGHT + GAP)
        sheet.paste(_square(tile.jpeg), (left, top))
        for line in range(3 if tile.emphasized else 1):
            frame = (left - 1 - line, top - 1 - line, left + SIDE + line, top + SIDE + line)
            canvas.rectangle(frame, outline=EMPHASIS if tile.emphasized else FRAME)
        for line, (text, ink) in enumerate(((tile.title, INK), (tile.subtitle, QUIET))):
            place = (left, top + SIDE + 4 + 16 * line)
            canvas.text(place, _shortened(canvas, text, SIDE, 13), ink, ImageFont.load_default(13))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _square(jpeg: bytes | None) -> Image.Image:
    """The whole picture on a grey square; small pictures are enlarged without smoothing."""
    square = Image.new("RGB", (SIDE, SIDE), MISSING)
    if jpeg is None:
        return square
    rgb = Image.fromarray(pixels.decode(jpeg, SIDE))
    scale = SIDE / max(rgb.size)
    size = max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))
    rgb = rgb.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    square.paste(rgb, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square


def _shortened(canvas: ImageDraw.ImageDraw, text: str, width: float, size: int) -> str:
    """The text, shortened to a width (pixels)."""
    font = ImageFont.load_default(size)
    if canvas.textlength(text, font) <= width:
        return text
    while text and canvas.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
