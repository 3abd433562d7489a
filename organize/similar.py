"""`hub similar`: the pictures of the lake that are most similar to a picture. Needs no Spark."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conf.settings import Settings
from lake import row_writer
from lake.native_output import stderr_to
from lake.pictures import contact_sheet, pixels
from lake.pictures.contact_sheet import Tile
from lake.row_writer import literal
from lake.table import Table
from organize.errors import UnknownImage
from organize.features import network_file
from organize.features.embedder import Embedder, embedder_of
from organize.features.vectors import Vectors
from organize.index.vector_index import VectorIndex

_ID_PREFIX = re.compile(r"[0-9a-f]{8,64}")
_SPARE = 20  # further images that are searched, in place of such whose sample is being erased


@dataclass(frozen=True)
class Match:
    """A similar image: its id, its label, and the cosine of both vectors (1: the same)."""

    image_id: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Query:
    """A picture whose like is searched.

    Args:
        name: of it, for people.
        vector: float32 (1, d).
        image_id: of an image of the lake, which is not its own match; empty for a file.
        picture: the encoded picture; None for an image of the lake.
    """

    name: str
    vector: Vectors
    image_id: str = ""
    picture: bytes | None = None


def find_similar(
    settings: Settings, image: str, k: int, report: Callable[[str], None] = lambda line: None
) -> tuple[Query, list[Match]]:
    """The k images that are most similar to a picture file, or to an image of the lake.

    Args:
        image: a path, or an image id of which the first 8 digits are enough.
        k: number of matches; there may be fewer.
        report: called with repairs of the index.

    Raises:
        UnknownImage: there is no such file and no such image, or the file is no picture.
        UnusableEmbedder, UnusableModel, UnusableWeights: the embedder does not exist or does not fit.
        StorageError: the lake cannot be read.
    """
    embedder = embedder_of(settings)
    index = VectorIndex.open(None, settings, embedder.model_id, report)
    if not len(index):
        raise UnknownImage(
            f"no image has an embedding of {embedder.model_id} in {settings.lake.root}: run "
            "`hub organize --once`"
        )
    path = Path(image)
    query = _of_file(settings, embedder, path) if path.is_file() else _of_image(settings, index, image)
    ids, cosines = index.search(query.vector, k + 1 + _SPARE)
    found = [
        (image_id, float(cosine))
        for image_id, cosine in zip(ids[0].tolist(), cosines[0], strict=True)
        if image_id and image_id != query.image_id
    ]
    labels = _labels(settings, [image_id for image_id, _ in found])
    # An image without a sample was erased.
    matches = [Match(each, labels[each], round(cosine, 4)) for each, cosine in found if each in labels]
    return query, matches[:k]


def sheet(settings: Settings, query: Query, matches: Sequence[Match]) -> bytes:
    """Draw the picture and its matches, a PNG."""
    ids = [match.image_id for match in matches]
    stored = _pictures(settings, [*ids, *filter(None, [query.image_id])])
    own = Tile(query.picture or stored.get(query.image_id), query.name, "the picture", emphasized=True)
    tiles = [
        Tile(stored.get(match.image_id), match.label, f"{match.similarity:.3f}  {match.image_id[:8]}")
        for match in matches
    ]
    return contact_sheet.draw(f"{len(matches)} pictures most similar to {query.name}", [own, *tiles])


def _of_file(settings: Settings, embedder: Embedder, path: Path) -> Query:
    """A picture file, prepared as uploads are, so that an upload of it has the same vector."""
    from organize.features import network

    config = settings.ingest
    try:
        content = path.read_bytes()
        rgb = pixels.decode(content, 2 * config.longest_side)
        jpeg = pixels.encode_jpeg(pixels.fit(rgb, config.longest_side), config.jpeg_quality)
    except Exception as error:  # Pillow's decoders raise almost any exception on hostile bytes
        cause = " ".join(str(error).split())[:200]
        raise UnknownImage(f"{path} cannot be read as a picture: {cause}") from None
    with stderr_to(settings.logs.dir / "tensorflow.out"):
        vector = network.load(network_file.get_or_create(settings, embedder)).embed_encoded([jpeg])[0]
    if vector is None:
        raise UnknownImage(f"{path} cannot be read as a picture")
    return Query(path.name, vector[np.newaxis], picture=jpeg)


def _of_image(settings: Settings, index: VectorIndex, image: str) -> Query:
    if not _ID_PREFIX.fullmatch(image):
        raise UnknownImage(f"{image} is neither a file nor an image id (8 to 64 hexadecimal digits)")
    matching = index.ids_with_prefix(image)
    if len(matching) > 1:
        raise UnknownImage(f"{len(matching)} images have an id that begins with {image}: give more digits")
    found, vectors = index.vectors_of(matching)
    if not found or not _labels(settings, found):
        raise UnknownImage(
            f"no image {image} with an embedding in {settings.lake.root}: `hub organize --once` embeds new "
            "ones, and an erased one is gone"
        )
    return Query(found[0][:12], vectors, image_id=found[0])


def _labels(settings: Settings, image_ids: Sequence[str]) -> dict[str, str]:
    if not image_ids:
        return {}
    where = f"image_id IN ({literal(*image_ids)})"
    rows = row_writer.read(settings, Table.SAMPLES, ("image_id", "label"), where)
    return {row["image_id"]: row["label"] for row in rows}


def _pictures(settings: Settings, image_ids: Sequence[str]) -> dict[str, bytes]:
    if not image_ids:
        return {}
    where = f"verdict = 'accepted' AND image_id IN ({literal(*image_ids)})"
    rows = row_writer.read(settings, Table.UPLOADS, ("image_id", "thumbnail", "jpeg"), where)
    found = {row["image_id"]: row["thumbnail"] or row["jpeg"] for row in rows}
    return {image_id: bytes(content) for image_id, content in found.items() if content}
