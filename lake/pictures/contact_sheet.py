"""A contact sheet: pictures in rows, each with a caption."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from lake.pictures import pixels

COLUMNS = 7
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

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
    heading, caption = ImageFont.load_default(16), ImageFont.load_default(13)
    canvas.text((GAP, 12), shortened(canvas, title, size[0] - 2 * GAP, heading), INK, heading)
    for position, tile in enumerate(tiles):
        left = GAP + position % COLUMNS * (SIDE + GAP)
        top = TITLE_HEIGHT + position // COLUMNS * (SIDE + CAPTION_HEIGHT + GAP)
        sheet.paste(square(tile.jpeg, SIDE), (left, top))
        for line in range(3 if tile.emphasized else 1):
            frame = (left - 1 - line, top - 1 - line, left + SIDE + line, top + SIDE + line)
            canvas.rectangle(frame, outline=EMPHASIS if tile.emphasized else FRAME)
        for line, (text, ink) in enumerate(((tile.title, INK), (tile.subtitle, QUIET))):
            place = (left, top + SIDE + 4 + 16 * line)
            canvas.text(place, shortened(canvas, text, SIDE, caption), ink, caption)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def square(content: bytes | None, side: int) -> Image.Image:
    """The whole picture on a grey square; small pictures are enlarged without smoothing.

    Args:
        content: an encoded picture; None leaves the square empty.
        side: of the square (pixels).
    """
    canvas = Image.new("RGB", (side, side), MISSING)
    if content is None:
        return canvas
    rgb = Image.fromarray(pixels.decode(content, side))
    scale = side / max(rgb.size)
    size = max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))
    rgb = rgb.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    canvas.paste(rgb, ((side - size[0]) // 2, (side - size[1]) // 2))
    return canvas


def shortened(canvas: ImageDraw.ImageDraw, text: str, width: float, font: Font) -> str:
    """The text, shortened to a width (pixels)."""
    if canvas.textlength(text, font) <= width:
        return text
    while text and canvas.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
