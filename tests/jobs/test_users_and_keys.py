"""`hub users` and `hub keys`: what they print, and that secrets are printed once."""

import io
import json
from pathlib import Path

import pytest

from jobs.cli.command import run
from jobs.hub import hub as hub_group
from web.access.accounts import Accounts
from web.access.principal import Role


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HUB__WEB__DIR", str(tmp_path / "web"))
    return tmp_path / "web"


def _hub(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        run(hub_group, list(arguments))
    shown = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, shown.out, shown.err


def test_people_are_added_listed_and_removed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _hub(capsys, "users")[1] == "no accounts; `hub users add` makes one\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    status, text, _ = _hub(capsys, "users", "add", "anna", "--role", "reviewer")
    assert (status, text) == (0, "anna can log in as reviewer.\n")
    person = Accounts(folder / "accounts.db").login("anna", "correct horse")
    assert person is not None and person.role is Role.REVIEWER
    (listed,) = json.loads(_hub(capsys, "users", "--json")[1])["users"]
    assert (listed["name"], listed["role"]) == ("anna", "reviewer")
    assert "correct" not in str(listed)
    assert _hub(capsys, "users", "remove", "anna")[0] == 0
    status, _, error = _hub(capsys, "users", "remove", "anna")
    assert (status, error) == (1, "hub users: error: no account 'anna': `hub users` lists them\n")


def test_a_short_password_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    status, _, error = _hub(capsys, "users", "add", "anna")
    assert (status, error) == (1, "hub users: error: a password needs 10 characters or more\n")
    assert not Accounts(folder / "accounts.db").exist()


def test_a_key_is_shown_once_and_revoked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hub keys add" in _hub(capsys, "keys")[1]
    made = json.loads(_hub(capsys, "keys", "add", "anna", "--device", "phone-7", "--json")[1])
    accounts = Accounts(folder / "accounts.db")
    holder = accounts.key_holder(made["key"])
    assert holder is not None
    assert (holder.user, holder.device, holder.role) == ("anna", "phone-7", Role.UPLOADER)
    listed = _hub(capsys, "keys", "--json")[1]
    assert made["key"] not in listed and json.loads(listed)["keys"][0]["key_id"] == made["key_id"]
    assert "phone-7" in _hub(capsys, "keys", "list")[1]
    assert _hub(capsys, "keys", "revoke", made["key_id"])[0] == 0
    assert accounts.key_holder(made["key"]) is None
    status, _, error = _hub(capsys, "keys", "add", "anna", "--device", "a/b")
    assert (status, error.count("\n")) == (1, 1)
