"""A face in a picture: its box, and the part of the picture that a model sees of it. Pure."""

from dataclasses import dataclass

from lake.pictures.pixels import RGB


@dataclass(frozen=True)
class Box:
    """A rectangle inside a picture, in its pixels from the top left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Its pixels."""
        return self.width * self.height


@dataclass(frozen=True)
class Face:
    """A face that was found; `confidence` is the detector's probability that it is one, 0–1."""

    box: Box
    confidence: float


def crop(rgb: RGB, box: Box, margin: float) -> RGB:
    """The square around a face, moved into the picture where it would reach beyond it.

    Args:
        rgb: uint8 (height, width, 3).
        box: of the face.
        margin: added on each side, as a share of the box's longer side.

    Returns:
        uint8 (side, side, 3); the side is at most the picture's shorter one.
    """
    height, width = rgb.shape[:2]
    side = min(round(max(box.width, box.height) * (1 + 2 * margin)), height, width)
    left = min(max(box.x + (box.width - side) // 2, 0), width - side)
    top = min(max(box.y + (box.height - side) // 2, 0), height - side)
    return rgb[top : top + side, left : left + side]
