"""Accounts of people and API keys of devices, in a SQLite file beside the lake's web data.

Passwords are stored as argon2id hashes, keys as SHA-256: a key has 256 random bits, so that a slow hash would
add nothing. The file is readable by its owner only. See docs/decisions/028-web-server.md.
"""

import hashlib
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from web.access.errors import AccessError
from web.access.principal import NO_LIMITS, Limits, Principal, Proof, Role

KEY_PREFIX = "hub_"
MIN_PASSWORD = 10  # characters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DEVICE = re.compile(r"[^/\s\x00-\x1f]{1,128}")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS people (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    key_id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, user TEXT NOT NULL, device TEXT NOT NULL,
    role TEXT NOT NULL, created TEXT NOT NULL, revoked TEXT
) WITHOUT ROWID;
"""
_LIMITS = ("uploads_per_minute", "upload_bytes", "bytes_per_hour")


@dataclass(frozen=True)
class Person:
    """An account; `stamp` changes with the password, and ends the sessions of the old one."""

    name: str
    role: Role
    created: str
    stamp: str


@dataclass(frozen=True)
class Key:
    """An API key, without its secret; `revoked` is None while it can be used. Limits are as in `Limits`."""

    key_id: str
    user: str
    device: str
    role: Role
    created: str
    revoked: str | None
    uploads_per_minute: int | None = None
    upload_bytes: int | None = None
    bytes_per_hour: int | None = None


class Accounts:
    """The accounts of a hub. Threads and processes may use one file at the same time.

    Args:
        file: created if it is missing.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        self._file = file
        self._local = threading.local()
        with self._database() as database:
            database.executescript(_SCHEMA)
            known = {row[1] for row in database.execute("PRAGMA table_info(keys)")}
            for name in _LIMITS:
                if name not in known:  # a file of an older hub
                    database.execute(f"ALTER TABLE keys ADD COLUMN {name} INTEGER")

    @cached_property
    def _hasher(self) -> PasswordHasher:
        return PasswordHasher()

    @cached_property
    def _unknown(self) -> str:
        """A hash to verify for an unknown name, so that the answer takes as long as for a known one."""
        return self._hasher.hash(secrets.token_hex())

    def exist(self) -> bool:
        """Whether anybody has an account."""
        with self._database() as database:
            return bool(database.execute("SELECT EXISTS (SELECT 1 FROM people)").fetchone()[0])

    def people(self) -> list[Person]:
        """All accounts, by name."""
        with self._database() as database:
            rows = database.execute("SELECT name, role, created, password FROM people ORDER BY name")
            return [_person(row) for row in rows]

    def person(self, name: str) -> Person | None:
        """An account by its name."""
        with self._database() as database:
            query = "SELECT name, role, created, password FROM people WHERE name = ?"
            row = database.execute(query, [name]).fetchone()
        return _person(row) if row else None

    def set_person(self, name: str, role: Role, password: str) -> None:
        """Make an account, or change its role and password.

        Raises:
            AccessError: the name or the password cannot be used.
        """
        if not _NAME.fullmatch(name):
            raise AccessError(f"{name!r} cannot be a name: use up to 64 letters, digits and . _ @ -")
        if len(password) < MIN_PASSWORD:
            raise AccessError(f"a password needs {MIN_PASSWORD} characters or more")
        with self._database() as database:
            database.execute(
                "INSERT OR REPLACE INTO people VALUES (?, ?, ?, ?)",
                [name, role, self._hasher.hash(password), _now()],
            )

    def remove_person(self, name: str) -> None:
        """Delete an account and revoke its keys.

        Raises:
            AccessError: there is none of this name.
        """
        with self._database() as database:
            if not database.execute("DELETE FROM people WHERE name = ?", [name]).rowcount:
                raise AccessError(f"no account {name!r}: `hub users` lists them")
            database.execute("UPDATE keys SET revoked = ? WHERE user = ? AND revoked IS NULL", [_now(), name])

    def login(self, name: str, password: str) -> Person | None:
        """The account, if name and password are right; takes as long for an unknown name."""
        with self._database() as database:
            query = "SELECT name, role, created, password FROM people WHERE name = ?"
            row = database.execute(query, [name]).fetchone()
        try:
            self._hasher.verify(row[3] if row else self._unknown, password)
        except (VerificationError, InvalidHashError):
            return None
        return _person(row) if row else None

    def keys(self) -> list[Key]:
        """All keys, the newest first, revoked ones included."""
        columns = f"key_id, user, device, role, created, revoked, {', '.join(_LIMITS)}"
        query = f"SELECT {columns} FROM keys ORDER BY created DESC, key_id"
        with self._database() as database:
            return [
                Key(a, b, c, Role(d), e, f, *limits) for a, b, c, d, e, f, *limits in database.execute(query)
            ]

    def make_key(
        self, user: str, device: str, role: Role = Role.UPLOADER, limits: Limits = NO_LIMITS
    ) -> tuple[Key, str]:
        """Make a key of a device.

        Args:
            limits: of its requests.

        Returns:
            the key, and its secret, which is stored nowhere.

        Raises:
            AccessError: user or device cannot be used.
        """
        if not _NAME.fullmatch(user):
            raise AccessError(f"{user!r} cannot be a user: use up to 64 letters, digits and . _ @ -")
        if not _DEVICE.fullmatch(device):
            raise AccessError(f"{device!r} cannot be a device: use up to 128 characters, no blank and no /")
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        own = (limits.uploads_per_minute, limits.upload_bytes, limits.bytes_per_hour)
        key = Key(secrets.token_hex(4), user, device, role, _now(), None, *own)
        with self._database() as database:
            database.execute(
                "INSERT INTO keys (key_id, hash, user, device, role, created, "
                f"{', '.join(_LIMITS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [key.key_id, _digest(secret), user, device, role, key.created, *own],
            )
        return key, secret

    def revoke(self, key_id: str) -> None:
        """Revoke a key; requests with it are refused from now on.

        Raises:
            AccessError: no usable key has this id.
        """
        with self._database() as database:
            done = database.execute(
                "UPDATE keys SET revoked = ? WHERE key_id = ? AND revoked IS NULL", [_now(), key_id]
            )
        if not done.rowcount:
            raise AccessError(f"no usable key {key_id!r}: `hub keys` lists them")

    def key_holder(self, secret: str) -> Principal | None:
        """Who a key belongs to; None if it is unknown or revoked."""
        columns = f"user, role, device, key_id, {', '.join(_LIMITS)}"
        query = f"SELECT {columns} FROM keys WHERE hash = ? AND revoked IS NULL"
        with self._database() as database:
            row = database.execute(query, [_digest(secret)]).fetchone()
        if not row:
            return None
        return Principal(row[0], Role(row[1]), Proof.KEY, row[2], row[3], Limits(*row[4:]))

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, in a transaction."""
        if not hasattr(self._local, "connection"):
            self._local.connection = sqlite3.connect(self._file, timeout=10)
        with self._local.connection as connection:
            yield connection


def _person(row: tuple[str, str, str, str]) -> Person:
    return Person(row[0], Role(row[1]), row[2], hashlib.sha256(row[3].encode()).hexdigest()[:16])


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
