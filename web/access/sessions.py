"""Sessions of logged-in people: a signed cookie that names the account."""

import os
import secrets
from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer, URLSafeTimedSerializer

from conf.web_section import Web
from web.access.accounts import Accounts, Person
from web.access.principal import Principal, Proof, Role

COOKIE = "hub_session"
_GUEST = "guest:"  # no account has a name with a colon


class Sessions:
    """Signs and reads session cookies.

    Args:
        web: settings; without `web.secret` the secret is a file in `web.dir`.
        accounts: a session ends with its account, its password or its age.
    """

    def __init__(self, web: Web, accounts: Accounts) -> None:
        self._secret = web.secret or _stored_secret(web.dir / "secret")
        self._serializer = URLSafeTimedSerializer(self._secret, "session")
        self._accounts = accounts
        self.seconds = round(web.session_hours * 3600)

    def cookie(self, person: Person) -> str:
        """The cookie's value for an account that has just logged in."""
        return self._serializer.dumps([person.name, person.stamp])

    @property
    def lan_token(self) -> str:
        """What the QR code of `hub serve --lan` proves; the same until the secret changes."""
        return str(URLSafeSerializer(self._secret, "lan").dumps("join")).rpartition(".")[2]

    def guest_cookie(self) -> str:
        """The cookie of a new guest: somebody who has scanned the QR code."""
        return self._serializer.dumps([f"{_GUEST}{secrets.token_hex(4)}", self.lan_token])

    def principal(self, cookie: str) -> Principal | None:
        """Who a cookie belongs to; None if it is forged, too old, or of another password."""
        try:
            name, stamp = self._serializer.loads(cookie, max_age=self.seconds)
        except (BadData, ValueError, TypeError):
            return None
        if str(name).startswith(_GUEST) and stamp == self.lan_token:
            return Principal(str(name), Role.UPLOADER, Proof.SESSION)
        person = self._accounts.person(str(name))
        if person is None or person.stamp != stamp:
            return None
        return Principal(person.name, person.role, Proof.SESSION)


def _stored_secret(file: Path) -> str:
    """The secret in a file that only its owner can read; made on first use."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    if not file.exists():
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as output:
            output.write(secrets.token_urlsafe(32))
        try:
            os.link(partial, file)  # fails if another process was first
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return file.read_text()
