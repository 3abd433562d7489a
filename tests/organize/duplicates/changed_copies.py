"""Pictures and changed copies of them, and their near duplicates as a lake finds them; no Spark."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from conf.settings import Settings
from lake.pictures import pixels
from organize.duplicates.calibration import calibrate, random_pairs
from organize.duplicates.comparison.picture_square import SIDE
from organize.duplicates.comparison.verification import Match
from organize.duplicates.picture_store import PictureStore, StoredPicture
from organize.duplicates.prints import describe
from organize.duplicates.search import ImagePair, search, significance_of
from organize.features.network import Network
from streaming.verify.phash import phash
from tests.support.media import scenes

STORED_SIDE = 256  # of pictures in the ledger, at most (pixels)


@dataclass(frozen=True)
class Picture:
    """A photograph or a copy of it: its number, the name of its change, the pixels as uploaded."""

    number: int
    change: str
    rgb: scenes.RGB

    @property
    def image_id(self) -> str:
        return hashlib.sha256(f"{self.number} {self.change}".encode()).hexdigest()

    def jpeg(self) -> bytes:
        """As an ingestion stores it."""
        return pixels.encode_jpeg(pixels.fit(self.rgb, STORED_SIDE), 90)

    def stored(self, jpeg: bytes) -> StoredPicture:
        """What its near duplicates are found and verified on."""
        rgb = pixels.decode(jpeg, 2 * SIDE)
        own = phash(cv2.cvtColor(pixels.decode(jpeg, STORED_SIDE), cv2.COLOR_RGB2GRAY))
        return describe(self.image_id, rgb, (self.rgb.shape[1], self.rgb.shape[0]), own)


def find(pictures: list[Picture], settings: Settings, network: Network, folder: Path) -> list[Match]:
    """All near duplicates among pictures, as a lake finds them."""
    jpegs = [picture.jpeg() for picture in pictures]
    vectors = np.stack([vector for vector in network.embed_encoded(jpegs) if vector is not None])
    cosines = vectors @ vectors.T
    config = settings.organize
    neighbours = {
        picture.image_id: [
            pictures[other].image_id
            for other in np.argsort(-row)[: config.duplicate_neighbours + 1]
            if row[other] >= config.duplicate_cosine
        ]
        for picture, row in zip(pictures, cosines, strict=True)
    }
    row_of = {picture.image_id: row for row, picture in enumerate(pictures)}

    def alike(pairs: Sequence[ImagePair]) -> dict[ImagePair, float]:
        return {(one, other): float(cosines[row_of[one], row_of[other]]) for one, other in pairs}

    with PictureStore(folder / "pictures.sqlite", config.phash_distance) as store:
        store.add(picture.stored(jpeg) for picture, jpeg in zip(pictures, jpegs, strict=True))
        found = search(store, list(neighbours), neighbours, alike)
        random = significance_of(store, random_pairs(neighbours), alike)
    assert found.compared <= 100 * len(pictures)
    calibration = calibrate(sorted(random.values()), len(pictures))
    return [match for match in found.matches if match.is_near_duplicate(calibration.sure)]
