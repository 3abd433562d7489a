"""Contact sheet of a cluster: its most typical pictures, and its outliers."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from conf.settings import Settings
from lake import row_writer
from lake.pictures import pixels
from lake.row_writer import literal
from lake.table import Table

TYPICAL, OUTLIERS = 40, 10  # pictures on a sheet
COLUMNS = 10
SIDE = 96  # of a picture (pixels)
GAP, CAPTION, TITLE = 8, 18, 40
INK, QUIET, PAPER, FAR = "#222222", "#666666", "#ffffff", "#b42318"


@dataclass(frozen=True)
class Member:
    """A picture of a cluster: its distance to the centroid, whether it is an outlier, and its label."""

    image_id: str
    label: str
    distance: float
    outlier: bool


def members(settings: Settings, cluster: str) -> list[Member]:
    """The pictures of a cluster that a sheet shows: the nearest ones, then the farthest outliers."""
    found = []
    for column, distance, outlier in (
        ("cluster", "cluster_distance", "outlier"),
        ("overall_cluster", "overall_distance", "overall_outlier"),
    ):
        columns = ("image_id", "label", distance, outlier)
        for row in row_writer.read(settings, Table.SAMPLES, columns, f"{column} = {literal(cluster)}"):
            found.append(Member(row["image_id"], row["label"], row[distance] or 0.0, bool(row[outlier])))
    ordered = sorted(found, key=lambda each: (each.distance, each.image_id))
    typical = [each for each in ordered if not each.outlier][:TYPICAL]
    return typical + [each for each in reversed(ordered) if each.outlier][:OUTLIERS]


def draw(title: str, shown: Sequence[tuple[Member, bytes | None]]) -> bytes:
    """Draw pictures with their distances; outliers in red.

    Args:
        title: above them.
        shown: pictures with their JPEG, or None where it is missing.

    Returns:
        a PNG.
    """
    rows = max(1, -(-len(shown) // COLUMNS))
    width = GAP + COLUMNS * (SIDE + GAP)
    sheet = Image.new("RGB", (width, TITLE + rows * (SIDE + CAPTION + GAP)), PAPER)
    canvas = ImageDraw.Draw(sheet)
    canvas.text((GAP, 12), title, INK, ImageFont.load_default(16))
    for position, (member, jpeg) in enumerate(shown):
        left = GAP + position % COLUMNS * (SIDE + GAP)
        top = TITLE + position // COLUMNS * (SIDE + CAPTION + GAP)
        if jpeg is not None:
            picture = Image.fromarray(pixels.decode(jpeg, SIDE))
            picture.thumbnail((SIDE, SIDE))
            if max(picture.size) * 2 <= SIDE:  # a tiny picture is shown enlarged, pixel by pixel
                factor = SIDE // max(picture.size)
                size = picture.width * factor, picture.height * factor
                picture = picture.resize(size, Image.Resampling.NEAREST)
            sheet.paste(picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2))
        canvas.rectangle(
            (left - 1, top - 1, left + SIDE, top + SIDE), outline=FAR if member.outlier else "#d0d0d0"
        )
        caption = f"{member.distance:.2f} outlier" if member.outlier else _caption(member)
        canvas.text(
            (left, top + SIDE + 2), caption, FAR if member.outlier else QUIET, ImageFont.load_default(11)
        )
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _caption(member: Member) -> str:
    return f"{member.distance:.2f}" if member.distance else member.label[:14]
