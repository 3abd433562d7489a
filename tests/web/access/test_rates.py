"""Rates and sizes: those of the settings for everybody, those of a key for its device."""

import sqlite3
from pathlib import Path

import pytest

from conf.settings import Settings
from web.access.accounts import Accounts
from web.access.principal import Limits, Principal, Proof, Role
from web.access.rates import Rates
from web.problems.problem import Problem

PERSON = Principal("anna", Role.UPLOADER, Proof.SESSION)


def _phone(**limits: int) -> Principal:
    return Principal("anna", Role.UPLOADER, Proof.KEY, "phone-7", "k1", Limits(**limits))


@pytest.fixture
def rates(settings: Settings) -> Rates:
    changed = {"uploads_per_minute": 5, "upload_bytes_per_hour": 1000}
    return Rates(settings.web.model_copy(update=changed))


def _taken(rates: Rates, who: Principal, tries: int = 20) -> int:
    """How many uploads are taken."""
    for number in range(tries):
        try:
            rates.count_upload(who)
        except Problem as refused:
            assert refused.status == 429 and int(refused.all_headers()["Retry-After"]) > 0
            return number
    return tries


def test_a_key_has_a_rate_of_its_own(rates: Rates) -> None:
    assert _taken(rates, PERSON) == 5
    assert _taken(rates, _phone(uploads_per_minute=9)) == 9
    assert _taken(rates, PERSON) == 0, "the person's own are used up, whatever the key sends"


def test_bytes_of_an_hour_are_those_that_were_stored(rates: Rates) -> None:
    for _ in range(3):
        rates.refuse_bytes(PERSON, 400)  # refused uploads and uploads without an answer do not count
    rates.count_bytes(PERSON, 700)
    rates.refuse_bytes(PERSON, 300)
    with pytest.raises(Problem, match="1,000 bytes of uploads an hour") as refused:
        rates.refuse_bytes(PERSON, 301)
    assert refused.value.status == 429
    rates.refuse_bytes(_phone(bytes_per_hour=5000), 4000)
    with pytest.raises(Problem):
        rates.refuse_bytes(_phone(bytes_per_hour=100), 101)


def test_a_file_of_keys_of_an_older_hub_is_read(tmp_path: Path) -> None:
    file = tmp_path / "accounts.db"
    with sqlite3.connect(file) as old:
        old.execute(
            "CREATE TABLE keys (key_id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, user TEXT NOT NULL, "
            "device TEXT NOT NULL, role TEXT NOT NULL, created TEXT NOT NULL, revoked TEXT) WITHOUT ROWID"
        )
        old.execute(
            "INSERT INTO keys VALUES ('k0', x'00', 'anna', 'phone-1', 'uploader', '2026-01-01', NULL)"
        )
    accounts = Accounts(file)
    _, secret = accounts.make_key("anna", "phone-2", limits=Limits(10, 2000, 30_000))
    new, old_key = accounts.keys()
    assert (new.uploads_per_minute, new.upload_bytes, new.bytes_per_hour) == (10, 2000, 30_000)
    assert (old_key.key_id, old_key.upload_bytes) == ("k0", None)
    holder = accounts.key_holder(secret)
    assert holder is not None and holder.limits == Limits(10, 2000, 30_000)
