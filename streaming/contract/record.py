"""The record contract: CloudEvents 1.0 in Kafka's binary content mode.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from re import compile as pattern

TYPE = "hub.image.uploaded.v1"
SPEC_VERSION = "1.0"
LABEL = pattern(r"[a-z0-9][a-z0-9_-]{0,63}")
# Of any time. Python cannot read others back from a table: its datetime fails on year 1,
# pandas on 2262.
YEARS = range(1970, 2262)

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Upload:
    """One picture on its way to the hub.

    Args:
        id: unique per upload, the idempotency key.
        device: Kafka key and last part of the source, so that a device's uploads stay in order.
        time: when the picture was uploaded, with a zone.
        label: as claimed.
        content: the encoded picture, untouched.
        content_type: media type as the phone states it; not trusted.
        user, batch: optional ids.
        location: latitude and longitude in degrees.
        sha256: of the content (hex), to have it checked.
        dataref: URI of the content where it is not inline.
    """

    id: str
    device: str
    time: datetime
    label: str
    content: bytes | None
    content_type: str = "image/jpeg"
    user: str | None = None
    batch: str | None = None
    location: tuple[float, float] | None = None
    sha256: str | None = None
    dataref: str | None = None

    def key(self) -> bytes:
        """The Kafka key."""
        return self.device.encode()

    def headers(self) -> list[Header]:
        """The Kafka headers."""
        values = {
            "content-type": self.content_type,
            "ce_specversion": SPEC_VERSION,
            "ce_id": self.id,
            "ce_source": f"/devices/{self.device}",
            "ce_type": TYPE,
            "ce_time": self.time.isoformat(),
            "ce_label": self.label,
            "ce_user": self.user,
            "ce_batch": self.batch,
            "ce_geo": self.location and f"{self.location[0]:.6f},{self.location[1]:.6f}",
            "ce_sha256": self.sha256,
            "ce_dataref": self.dataref,
        }
        return [(name, value.encode()) for name, value in values.items() if value is not None]


def normalized_label(claimed: str) -> str:
    """NFKC, lower case, blanks to `_`; the result may still be malformed (see `LABEL`)."""
    return "_".join(unicodedata.normalize("NFKC", claimed).strip().lower().split())
