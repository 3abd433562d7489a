"""The holder of a lock or a lease: the content of the lock file or lease object."""

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class LockHolder:
    """The process that holds a lock or a lease.

    Args:
        command: name of its `hub` command, such as `ingest`.
        host, pid: of the process.
        since: when it acquired the lock (RFC 3339).
        nonce: distinguishes two holders with the same host and pid.
    """

    command: str
    host: str
    pid: int
    since: str
    nonce: str

    @classmethod
    def this_process(cls, command: str) -> "LockHolder":
        """The current process."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(command, socket.gethostname(), os.getpid(), since, secrets.token_hex(8))

    @classmethod
    def from_json(cls, content: bytes) -> "LockHolder":
        """Parse a lock's content. A half-written lock is still held, by an unknown process."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            return cls("a command", "an unknown host", 0, "just now", "")

    def __str__(self) -> str:
        return f"`hub {self.command}` on {self.host}, pid {self.pid}, since {self.since}"

    def to_json(self) -> bytes:
        """The lock's content."""
        return json.dumps(asdict(self)).encode()
