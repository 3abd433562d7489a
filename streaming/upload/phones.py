"""Phones: they turn pictures into uploads with ids, times, users and places."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from streaming.contract.record import Upload
from streaming.sources.items import Item

_TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
}
_CITIES = ((52.52, 13.405), (48.857, 2.352), (40.713, -74.006), (35.69, 139.692), (-33.869, 151.209))


@dataclass(frozen=True)
class Fleet:
    """Devices that send pictures.

    Args:
        devices: how many; picture number n is sent by device n modulo this.
        batch: name of the upload batch.
    """

    devices: int
    batch: str

    def upload(self, number: int, item: Item) -> Upload:
        """The upload of one picture, under an id that no other upload has.

        Args:
            number: of the picture in the push; tells which device sends it.
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
            content_type=_TYPES.get(item.name.rpartition(".")[2].lower(), "application/octet-stream"),
            user=f"user-{phone + 1:03d}",
            batch=self.batch,
            location=(latitude, longitude + phone / 1000 % 1) if phone % 3 == 0 else None,
            sha256=hashlib.sha256(item.content).hexdigest(),
        )
