"""Known ids: never a false "no", through appends of any size."""

from pathlib import Path

import pytest

from conf.settings import Settings
from lake.table import Table
from tests.web import lakes
from web.data import known_ids
from web.data.known_ids import KnownIds
from web.data.mirror import Mirror


def test_every_id_of_the_ledger_is_known(
    own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_ids, "_RECENT", 50)
    mirror = Mirror(own, tmp_path / "tables.duckdb")
    known = KnownIds(mirror)
    assert not known.may_have("upload-000000")
    first = 0
    for count in (10, 30, 20, 200, 1, 49):
        rows = [lakes.upload_row(n) for n in range(first, first + count)]
        lakes.append(own, Table.UPLOADS, [*rows, lakes.rejected_row(first, "bad_header", upload_id=None)])
        first += count
        mirror.refresh()
        assert all(known.may_have(f"upload-{number:06}") for number in range(first))
        assert not known.may_have(f"upload-{first:06}")
    assert not any(known.may_have(text) for text in ("", "é", "upload-1"))
