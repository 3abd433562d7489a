"""Receipts survive a restart and go when the ledger has the uploads; memory for bodies is given back."""

from pathlib import Path

import pytest

from web.problems.problem import Problem
from web.uploads.body import Budget
from web.uploads.receipts import Receipt, Receipts


def _receipt(name: str, user: str = "anna", stored: str = "2100-01-01T00:00:00+00:00") -> Receipt:
    return Receipt(name, user, "phone-7", None, "cat", stored)


def test_receipts_survive_a_restart_until_they_are_removed(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path / "receipts.db")
    for receipt in (_receipt("one"), _receipt("two"), _receipt("three", "bert")):
        receipts.add(receipt)
    receipts.add(_receipt("one"))
    receipts.close()
    again = Receipts(tmp_path / "receipts.db")
    assert again.count() == 3
    assert again.get("one") == _receipt("one")
    assert {each.upload_id for each in again.of_user("anna", 10)} == {"one", "two"}
    again.remove(["one", "unknown"])
    assert sorted(again.ids()) == ["three", "two"]
    again.remove_user("bert")
    assert again.ids() == ["two"]


def test_old_receipts_are_forgotten(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path / "receipts.db")
    receipts.add(_receipt("old", stored="2020-01-01T00:00:00+00:00"))
    receipts.close()
    assert Receipts(tmp_path / "receipts.db").count() == 0


def test_attempts_are_open_until_they_are_stored_or_forgotten(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path / "receipts.db")
    assert all(receipts.begin(name) for name in ("one", "two", "three"))
    receipts.close()
    again = Receipts(tmp_path / "receipts.db")
    assert not again.begin("one"), "nobody knows what became of it"
    again.add(_receipt("one"))
    again.forget(["two"])
    assert list(again.attempts()) == ["three"]
    assert again.begin("two")
    assert again.count() == 1, "an attempt is no receipt"


def test_a_budget_is_never_exceeded() -> None:
    budget = Budget(100)
    budget.take(60)
    with pytest.raises(Problem) as refused:
        budget.take(41)
    assert (refused.value.status, budget.used) == (503, 60)
    assert refused.value.all_headers()["Retry-After"]
    budget.take(40)
    budget.give(100)
    assert budget.used == 0
