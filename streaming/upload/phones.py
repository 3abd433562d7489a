"""Simulated phones: turn pictures into uploads with ids, times, users and locations."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from lake.pictures import formats
from streaming.contract.record import Upload
from streaming.sources.items import Item

_MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
}
_CITIES = ((52.52, 13.405), (48.857, 2.352), (40.713, -74.006), (35.69, 139.692), (-33.869, 151.209))


@dataclass(frozen=True)
class Fleet:
    """A fleet of phones that send pictures.

    Args:
        devices: number of phones; picture n is sent by phone n modulo this number.
        batch: name of the upload batch.
    """

    devices: int
    batch: str

    def upload(self, number: int, item: Item) -> Upload:
        """Make the upload of one picture, with a unique id.

        Args:
            number: of the picture in the push; it determines the phone.
            item: a picture with a label.
        """
        phone = number % self.devices
        latitude, longitude = _CITIES[phone % len(_CITIES)]
        return Upload(
            id=str(uuid.uuid4()),
            device=f"phone-{phone + 1:03d}",
            time=datetime.now(UTC),
            label=item.label or "",
            content=item.content,
            content_type=_media_type(item),
            user=f"user-{phone + 1:03d}",
            batch=self.batch,
            location=(latitude, longitude + phone / 1000 % 1) if phone % 3 == 0 else None,
            sha256=hashlib.sha256(item.content).hexdigest(),
        )


def _media_type(item: Item) -> str:
    """By the content, or else by the ending of the name."""
    kind = formats.detect(item.content)
    if kind is not None:
        return f"image/{kind}"
    return _MEDIA_TYPES.get(item.name.rpartition(".")[2].lower(), "application/octet-stream")
