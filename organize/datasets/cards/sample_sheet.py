"""Contact sheet of a dataset: some training pictures of each label."""

import io
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from lake.pictures import pixels
from lake.snapshot import DatasetSnapshot, Split

MAX_LABELS = 40
PER_LABEL = 8
SIDE = 96  # of a picture on the sheet (pixels)
GAP = 6
NAME_WIDTH = 150
INK, PAPER = "#222222", "#ffffff"


def sample_sheet(snapshot: DatasetSnapshot) -> bytes:
    """Draw the first training pictures of up to 40 labels, one label a row.

    Returns:
        a JPEG, 972 pixels wide.

    Raises:
        DamagedSnapshot: a shard cannot be read.
    """
    shown = snapshot.labels[:MAX_LABELS]
    found = _first_pictures(snapshot, len(shown))
    size = NAME_WIDTH + PER_LABEL * (SIDE + GAP) + GAP, GAP + len(shown) * (SIDE + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", 14)
    for row, label in enumerate(shown):
        top = GAP + row * (SIDE + GAP)
        draw.text((GAP, top + SIDE // 2 - 8), _shorten(draw, label, font), INK, font)
        for column, content in enumerate(found[row]):
            sheet.paste(_square(content), (NAME_WIDTH + column * (SIDE + GAP), top))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=88)
    return file.getvalue()


def _first_pictures(snapshot: DatasetSnapshot, labels: int) -> list[list[bytes]]:
    """The first pictures of each label; reads shards only until there are enough."""
    found: list[list[bytes]] = [[] for _ in range(labels)]
    for split in Split:
        for batch in snapshot.batches(split, 0, snapshot.row_count(split)):
            for index, content in zip(batch["label"].to_pylist(), batch["jpeg"], strict=True):
                if index < labels and len(found[index]) < PER_LABEL:
                    found[index].append(content.as_py())
            if all(len(pictures) == PER_LABEL for pictures in found):
                return found
        if all(found):  # validation and test pictures are shown only of labels without training pictures
            return found
    return found


def _square(content: bytes) -> Image.Image:
    """The whole picture on a grey square; small pictures are enlarged without smoothing."""
    picture = Image.fromarray(pixels.decode(content, SIDE))
    scale = SIDE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    square = Image.new("RGB", (SIDE, SIDE), "#eeeeee")
    square.paste(picture, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square


def _shorten(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont) -> str:
    """The text, shortened to the width of the column of names."""
    width = NAME_WIDTH - 2 * GAP
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
