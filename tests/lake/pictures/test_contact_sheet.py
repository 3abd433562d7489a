"""Contact sheets: places, frames and captions."""

import io

import numpy as np
import pytest
from PIL import Image

from lake.pictures.contact_sheet import COLUMNS, Tile, draw
from lake.pictures.pixels import encode_jpeg


def pixels(sheet: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(sheet)))


def plain(colour: tuple[int, int, int], width: int = 64, height: int = 64) -> bytes:
    return encode_jpeg(np.full((height, width, 3), colour, np.uint8), 95)


def test_pictures_are_in_rows_and_a_wide_one_is_shown_whole() -> None:
    red = Tile(plain((200, 0, 0)), "red", emphasized=True)
    wide = Tile(plain((0, 0, 200), 128, 32), "wide", "0.987")
    drawn = pixels(draw("title", [red, *[wide] * COLUMNS]))
    assert drawn.shape == (40 + 2 * 174, 976, 3)
    np.testing.assert_allclose(drawn[40 + 64, 10 + 64], (200, 0, 0), atol=3)
    np.testing.assert_allclose(drawn[40 + 64, 148 + 64], (0, 0, 200), atol=3)
    assert drawn[40 + 4, 148 + 64].tolist() == [238, 238, 238], "above a wide picture"
    np.testing.assert_allclose(drawn[40 + 174 + 64, 10 + 64], (0, 0, 200), atol=3)
    assert drawn[39, 30].tolist() == [26, 95, 180], "the frame that stands out"


@pytest.mark.parametrize("tiles", [[], [Tile(None, "missing", "x" * 200)]])
def test_a_missing_picture_and_no_pictures_are_drawn(tiles: list[Tile]) -> None:
    assert pixels(draw("a very long title " * 20, tiles)).shape[1] == 976
