"""Records that `hub push` sends to Kafka."""

from dataclasses import dataclass

from streaming.contract.record import Header, Upload


@dataclass(frozen=True)
class ProducerRecord:
    """One Kafka record; hostile uploads break the contract on purpose."""

    key: bytes | None
    value: bytes | None
    headers: list[Header]

    @classmethod
    def of(cls, upload: Upload) -> "ProducerRecord":
        """The record of an upload, as the contract defines it."""
        return cls(upload.key(), upload.content, upload.headers())

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


@dataclass(frozen=True)
class Unsent:
    """A picture that cannot be sent.

    Args:
        why: message that names the picture and the error.
    """

    why: str
