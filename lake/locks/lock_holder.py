"""Who holds a lake or a run: what a lock says."""

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class LockHolder:
    """Who holds a lake.

    Args:
        command: `ingest` or another that writes what ingest writes.
        host, pid: of the process.
        since: when it took the lake (RFC 3339).
        nonce: tells two holders of one host and pid apart.
    """

    command: str
    host: str
    pid: int
    since: str
    nonce: str

    @classmethod
    def this(cls, command: str) -> "LockHolder":
        """This process."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(command, socket.gethostname(), os.getpid(), since, secrets.token_hex(8))

    @classmethod
    def read(cls, content: bytes) -> "LockHolder":
        """What a lock says; a half-written one still locks."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            return cls("a command", "an unknown host", 0, "just now", "")

    def __str__(self) -> str:
        return f"`hub {self.command}` on {self.host}, pid {self.pid}, since {self.since}"

    def content(self) -> bytes:
        """What is written to the lock."""
        return json.dumps(asdict(self)).encode()
