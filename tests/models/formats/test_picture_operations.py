"""Pictures in the graph of a SavedModel: the hub's pixels, or an error that names the picture."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.pictures.inputs import decode_centre_crop
from tests.support import pictures
from tests.support.media import heif

SIDE = 32
Read = Callable[[bytes], Any]


@pytest.fixture(scope="module")
def read() -> Read:
    """What the graph makes of an encoded picture, float32 (side, side, 3)."""
    import tensorflow as tf

    from models.formats.serving_signature import prepare_picture

    traced = tf.function(
        lambda content, position: prepare_picture(content, SIDE, position),
        autograph=False,
        input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32)],
    )
    return lambda content: traced(tf.constant(content), tf.constant(5)).numpy()


def photograph(side: tuple[int, int] = (300, 180)) -> Image.Image:
    """A smooth asymmetric picture, width × height, so that two ways of scaling differ little."""
    across, down = np.meshgrid(np.linspace(0, 1, side[0]), np.linspace(0, 1, side[1]))
    channels = [across, down, (across - down) ** 2]
    return Image.fromarray((np.stack(channels, -1) * 255).astype(np.uint8))


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    return pictures.encoded(photograph().convert(mode), kind, **options)


def transparent(kind: str, **options: Any) -> bytes:
    image = photograph().convert("RGBA")
    image.putalpha(photograph().convert("L"))
    return pictures.encoded(image, kind, **options)


def png_of_bits(depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of two halves, with samples of few bits."""
    left, right = bytes(96 * depth // 16), b"\xff" * (96 * depth // 16)
    return pictures.png_of((96, 64, depth, colour), (b"\0" + left + right) * 64, more=chunks)


def ink(adobe: bool) -> bytes:
    content = encoded("JPEG", "CMYK", quality=95)
    at = content.index(b"\xff\xee")
    return content if adobe else content[:at] + content[at + 2 + content[at + 3] :]


PALETTE = b"PLTE", bytes((200, 30, 30)) + bytes((20, 30, 200)) * 15
READ: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded("JPEG", quality=95),
    "small": lambda: pictures.encoded(photograph((20, 25)), quality=95),
    "progressive": lambda: encoded("JPEG", quality=95, progressive=True),
    "grey jpeg": lambda: encoded("JPEG", "L", quality=95),
    "ink": lambda: ink(adobe=True),
    "ink without Adobe": lambda: ink(adobe=False),
    "mpo": lambda: encoded("MPO", quality=95, save_all=True, append_images=[pictures.noise()]),
    "png": lambda: encoded("PNG"),
    "transparent png": lambda: transparent("PNG"),
    "grey png": lambda: encoded("PNG", "L"),
    "grey png with alpha": lambda: encoded("PNG", "LA"),
    "interlaced": lambda: pictures.interlaced(np.asarray(photograph((97, 64)))),
    **{f"grey of {depth}": partial(png_of_bits, depth, 0) for depth in (1, 2, 4, 8, 16)},
    **{f"palette of {depth}": partial(png_of_bits, depth, 3, PALETTE) for depth in (1, 2, 4, 8)},
    "transparent palette": lambda: png_of_bits(4, 3, PALETTE, (b"tRNS", bytes((128,)))),
    "transparent grey": lambda: png_of_bits(2, 0, (b"tRNS", b"\0\0")),
    "png with a large text": lambda: pictures.png_with((b"tEXt", b"k\0" + b"words " * 400_000)),
    "webp": lambda: encoded("WEBP", quality=95),
    "lossless webp": lambda: encoded("WEBP", lossless=True),
    "transparent webp": lambda: transparent("WEBP", lossless=True),
    "extended webp": lambda: encoded("WEBP", quality=95, exif=Image.Exif().tobytes(), xmp=b"<x/>"),
    "damaged exif": lambda: pictures.with_segment(
        encoded("JPEG", quality=95), 0xE1, b"Exif\0\0II*\0" + b"\xff" * 40
    ),
}


@pytest.mark.parametrize("name", READ)
def test_graph_prepares_pictures_as_the_hub_does(name: str, read: Read) -> None:
    content = READ[name]()
    difference = np.abs(read(content) - decode_centre_crop(content, SIDE).astype(np.float32))
    limit = 3 if "text" in name else 1.5  # noise, which two ways of scaling see differently
    assert difference.mean() < limit and difference.max() <= 30, (difference.mean(), difference.max())


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "heic": (
        heif.still,
        "picture 5 of the batch is HEIC, AVIF or a film: this SavedModel decodes JPEG, PNG and WebP",
    ),
    "avif": (lambda: encoded("AVIF"), "picture 5 of the batch is HEIC, AVIF or a film"),
    "animated webp": (
        lambda: encoded("WEBP", save_all=True, append_images=[pictures.noise(300, 180)]),
        "picture 5 of the batch is an animated WebP",
    ),
    "gif": (lambda: encoded("GIF"), "picture 5 of the batch is of an unknown format"),
    "nothing": (lambda: b"", "picture 5 of the batch is of an unknown format"),
    "lossless": (lambda: pictures.lossless_jpeg(640, 520), "Invalid JPEG data"),
    "cut jpeg": (lambda: encoded("JPEG")[:2000], "Invalid JPEG data"),
    "cut png": (lambda: encoded("PNG")[:300], "PNG"),
    "cut webp": (lambda: encoded("WEBP")[:300], "WebP"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_tensorflow_cannot_decode_is_refused_in_words(name: str, read: Read) -> None:
    from tensorflow.errors import InvalidArgumentError

    make, words = REFUSED[name]
    with pytest.raises(InvalidArgumentError, match=words):
        read(make())
