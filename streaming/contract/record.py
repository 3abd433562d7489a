"""The record contract: CloudEvents 1.0 in Kafka's binary content mode.

The header `ce_label` has the label as the user wrote it. The ledger stores it as `label_name` and its slug as
`label`; the rule is in `lake.label_slug`. In the table `labels` the column `display_name` has the name of
labels.csv, or else the first name in the ledger that is not the slug itself.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from dataclasses import dataclass
from datetime import datetime

TYPE = "hub.image.uploaded.v1"
SPEC_VERSION = "1.0"
# Years of all times. Python cannot read other years from a table: datetime fails on year 1, pandas on 2262.
YEARS = range(1970, 2262)

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Upload:
    """One upload: a picture with its metadata, as a phone sends it.

    Args:
        id: unique per upload, the idempotency key.
        device: Kafka key and last part of ce_source; the key keeps a device's uploads in order.
        time: upload time, with a zone.
        label: as the user wrote it; ingestion makes its slug.
        content: the encoded picture, unchanged.
        content_type: media type that the phone claims; not trusted.
        user, batch: optional ids.
        location: latitude and longitude in degrees.
        sha256: of the content (hex); ingestion verifies it.
        dataref: URI of the content if it is not inline.
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
