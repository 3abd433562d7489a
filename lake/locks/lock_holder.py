"""The holder of a lock or a lease: the content of the lock file or lease object."""

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

PROOF_FOLDER = "leases"  # below the work folder
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Id of the running kernel since its start, the same in all containers; empty where there is none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class LockHolder:
    """The process that holds a lock or a lease.

    Args:
        command: name of its `hub` command, such as `ingest`.
        host, pid: of the process.
        since: when it acquired the lock (RFC 3339).
        nonce: distinguishes two holders with the same host and pid.
        boot: id of the host's kernel since its start (see `boot_id`).
        proof: path of the file that the process keeps locked while it lives; empty without one.
    """

    command: str
    host: str
    pid: int
    since: str
    nonce: str
    boot: str = ""
    proof: str = ""

    @classmethod
    def this_process(cls, command: str, work_dir: Path | None = None) -> "LockHolder":
        """The current process.

        Args:
            command: that it runs.
            work_dir: folder for the proof of a lease, which other processes of this machine can open, too.
        """
        since = datetime.now(UTC).isoformat(timespec="seconds")
        nonce = secrets.token_hex(8)
        proof = str(work_dir / PROOF_FOLDER / nonce) if work_dir else ""
        return cls(command, socket.gethostname(), os.getpid(), since, nonce, boot_id(), proof)

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
