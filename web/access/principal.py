"""The person or device that sends a request, and the roles."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do; each role may do what the ones before it may."""

    UPLOADER = "uploader"  # send pictures, see their own uploads, predict
    REVIEWER = "reviewer"  # see all pictures, decide about labels
    TRAINER = "trainer"  # train models, query tables
    ADMIN = "admin"  # erase others' uploads, manage accounts

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what another may."""
        roles = list(Role)
        return roles.index(self) >= roles.index(other)


class Proof(StrEnum):
    """How a request proves who sends it."""

    OPEN = "open"  # it needs no proof: an embedded default without accounts, on loopback
    SESSION = "session"  # the cookie of a login
    KEY = "key"  # an API key


@dataclass(frozen=True)
class Limits:
    """Limits of one key; None: those of the settings.

    Args:
        uploads_per_minute: number of uploads.
        upload_bytes: size of one upload.
        bytes_per_hour: size of all uploads in an hour.
    """

    uploads_per_minute: int | None = None
    upload_bytes: int | None = None
    bytes_per_hour: int | None = None


NO_LIMITS = Limits()
"""None of its own."""


@dataclass(frozen=True)
class Principal:
    """Who sends a request.

    Args:
        user: id of the person; their uploads have it as ce_user.
        role: what they may do.
        proof: how they proved it.
        device: the device that an API key belongs to; None for a browser.
        key_id: of the API key.
        limits: of the API key.
    """

    user: str
    role: Role
    proof: Proof
    device: str | None = None
    key_id: str | None = None
    limits: Limits = NO_LIMITS

    @property
    def counted(self) -> str:
        """Under what their requests are counted: the key, or the person."""
        return self.key_id or self.user

    def may(self, role: Role) -> bool:
        """Whether they may do what a role may."""
        return self.role.includes(role)

    def sees(self, user: str | None) -> bool:
        """Whether they may see the uploads of a user: uploaders see their own only."""
        return self.may(Role.REVIEWER) or (user is not None and user == self.user)


# Without accounts everybody at this machine is the same person.
LOCAL = Principal("local", Role.ADMIN, Proof.OPEN)
