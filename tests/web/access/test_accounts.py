"""Accounts and keys: hashes only at rest, revocation at once, sessions that end with the password."""

import sqlite3
import stat
from pathlib import Path

import pytest

from conf.settings import Settings
from web.access.accounts import KEY_PREFIX, Accounts
from web.access.errors import AccessError
from web.access.principal import LOCAL, Principal, Proof, Role
from web.access.sessions import Sessions


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "web" / "accounts.db")


def test_a_password_logs_in_and_is_stored_as_a_hash_only(accounts: Accounts, tmp_path: Path) -> None:
    assert not accounts.exist()
    accounts.set_person("anna", Role.REVIEWER, "correct horse")
    assert accounts.exist()
    person = accounts.login("anna", "correct horse")
    assert person is not None
    assert (person.name, person.role) == ("anna", Role.REVIEWER)
    assert accounts.login("anna", "correct horsf") is None
    assert accounts.login("bert", "correct horse") is None
    file = tmp_path / "web" / "accounts.db"
    assert b"correct horse" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_names_user_and_device_until_it_is_revoked(accounts: Accounts, tmp_path: Path) -> None:
    key, secret = accounts.make_key("anna", "phone-7")
    assert secret.startswith(KEY_PREFIX) and len(secret) > 40
    assert accounts.key_holder(secret) == Principal("anna", Role.UPLOADER, Proof.KEY, "phone-7", key.key_id)
    assert accounts.key_holder(secret[:-1]) is None
    stored = sqlite3.connect(tmp_path / "web" / "accounts.db").execute("SELECT * FROM keys").fetchall()
    assert secret not in str(stored) and secret.removeprefix(KEY_PREFIX) not in str(stored)
    other = Accounts(tmp_path / "web" / "accounts.db")  # as `hub keys revoke` beside a running server
    other.revoke(key.key_id)
    assert accounts.key_holder(secret) is None
    with pytest.raises(AccessError, match="no usable key"):
        accounts.revoke(key.key_id)
    assert accounts.keys()[0].revoked


def test_a_removed_person_loses_keys_and_login(accounts: Accounts) -> None:
    accounts.set_person("anna", Role.ADMIN, "correct horse")
    _, secret = accounts.make_key("anna", "phone-7", Role.ADMIN)
    accounts.remove_person("anna")
    assert accounts.login("anna", "correct horse") is None
    assert accounts.key_holder(secret) is None
    with pytest.raises(AccessError, match="no account 'anna'"):
        accounts.remove_person("anna")


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("", "correct horse", "cannot be a name"),
        ("a b", "correct horse", "cannot be a name"),
        ("x" * 65, "correct horse", "cannot be a name"),
        ("anna", "short", "needs 10 characters"),
    ],
)
def test_unusable_names_and_passwords_are_refused(
    accounts: Accounts, name: str, password: str, why: str
) -> None:
    with pytest.raises(AccessError, match=why):
        accounts.set_person(name, Role.ADMIN, password)
    assert not accounts.exist()


@pytest.mark.parametrize("device", ["", "a/b", "a b", "x" * 129])
def test_a_device_that_the_record_contract_refuses_gets_no_key(accounts: Accounts, device: str) -> None:
    with pytest.raises(AccessError, match="cannot be a device"):
        accounts.make_key("anna", device)


def test_a_session_ends_with_the_password_the_account_and_its_age(
    accounts: Accounts, settings: Settings, tmp_path: Path
) -> None:
    web = settings.web.model_copy(update={"dir": tmp_path / "web"})
    sessions = Sessions(web, accounts)
    accounts.set_person("anna", Role.TRAINER, "correct horse")
    person = accounts.person("anna")
    assert person is not None
    cookie = sessions.cookie(person)
    assert sessions.principal(cookie) == Principal("anna", Role.TRAINER, Proof.SESSION)
    assert Sessions(web, accounts).principal(cookie) is not None, "a restart ends no session"
    assert stat.S_IMODE((tmp_path / "web" / "secret").stat().st_mode) == 0o600
    for forged in ("", "x", cookie[:-2] + "xx", cookie.replace(".", "", 1)):
        assert sessions.principal(forged) is None
    brief = Sessions(web.model_copy(update={"session_hours": -1.0}), accounts)
    assert brief.principal(cookie) is None
    accounts.set_person("anna", Role.TRAINER, "another horse")
    assert sessions.principal(cookie) is None


def test_roles_include_the_ones_before() -> None:
    assert [role for role in Role if Role.TRAINER.includes(role)] == [
        Role.UPLOADER, Role.REVIEWER, Role.TRAINER,
    ]  # fmt: skip
    assert LOCAL.may(Role.ADMIN)
    anna = Principal("anna", Role.UPLOADER, Proof.KEY)
    assert anna.sees("anna") and not anna.sees("bert") and not anna.sees(None)
    assert Principal("bert", Role.REVIEWER, Proof.KEY).sees("anna")
