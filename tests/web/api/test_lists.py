"""Lists over HTTP: every row once over all pages, filters, keys of other lists refused."""

from typing import Any

import pytest
from fastapi.testclient import TestClient


def _all(client: TestClient, path: str, **query: Any) -> list[dict[str, Any]]:
    rows, after = [], None
    for _ in range(100):
        answer = client.get(f"/api/v1/{path}", params=query | ({"after": after} if after else {}))
        assert answer.status_code == 200, answer.text
        rows += answer.json()["items"]
        after = answer.json()["next"]
        if after is None:
            return rows
    raise AssertionError("the list does not end")


@pytest.mark.parametrize("limit", [1, 7, 33, 34, 200])
def test_pages_have_every_upload_once_newest_first(client: TestClient, limit: int) -> None:
    rows = _all(client, "uploads", limit=limit)
    assert len(rows) == 33
    times = [row["ingest_time"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert len({(row["id"], row["state"]) for row in rows}) == 33


def test_uploads_are_filtered(client: TestClient) -> None:
    assert {row["label"] for row in _all(client, "uploads", label="cat")} == {"cat"}
    assert len(_all(client, "uploads", user="user-3", verdict="accepted")) == 4
    assert [row["reason"] for row in _all(client, "uploads", reason="truncated")] == ["truncated"]
    assert len(_all(client, "uploads", flag="dark")) == 6
    assert _all(client, "uploads", label="no such label") == []


def test_a_rejected_upload_says_what_to_do(client: TestClient) -> None:
    (row,) = _all(client, "uploads", reason="too_small")
    assert row["state"] == "rejected"
    assert (row["what"], row["todo"]) == (
        "The picture is too small.",
        "Send it in full size, not as a preview.",
    )
    assert row["picture"] is None


def test_other_lists(client: TestClient) -> None:
    assert [row["label"] for row in _all(client, "labels", limit=1)] == ["cat", "dog"]
    (batch,) = _all(client, "batches")
    assert (batch["submitted"], batch["accepted"], batch["rejected"]) == (33, 30, 3)
    assert len(_all(client, "samples", limit=4)) == 30
    assert len(_all(client, "samples", label="cat", flag="dark")) == 3
    assert _all(client, "datasets") == _all(client, "models") == []


@pytest.mark.parametrize(
    "after", ["x", "e30", "W10", "WzFd", "WyJhIiwiYiIsImMiXQ", "WyJcdTAwMDAiLDEsMl0", "é"]
)
@pytest.mark.parametrize("path", ["uploads", "labels", "batches", "samples", "datasets", "models"])
def test_a_key_that_no_list_gave_is_refused_or_gives_a_page(
    client: TestClient, path: str, after: str
) -> None:
    answer = client.get(f"/api/v1/{path}", params={"after": after})
    assert answer.status_code in (200, 422)
    if answer.status_code == 422:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "bad_parameter"


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1e3"])
def test_a_limit_out_of_range_is_refused(client: TestClient, limit: str) -> None:
    answer = client.get("/api/v1/uploads", params={"limit": limit})
    assert (answer.status_code, answer.json()["status"]) == (422, 422)
    assert "limit" in answer.json()["detail"]


def test_the_first_verdict_on_an_id_counts(client: TestClient) -> None:
    found = client.get("/api/v1/uploads/upload-000001").json()
    assert (found["state"], found["reason"], found["user"]) == ("accepted", None, "user-1")
    assert client.get("/api/v1/uploads/nobody-s").status_code == 404


def test_pictures_are_the_stored_jpegs(client: TestClient) -> None:
    for size in ("jpeg", "thumbnail"):
        answer = client.get("/api/v1/uploads/upload-000003/picture", params={"size": size})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.content.startswith(b"\xff\xd8\xff")
    rejected = client.get("/api/v1/uploads/upload-000030/picture")
    assert (rejected.status_code, rejected.json()["status"]) == (404, 404)
    assert client.get("/api/v1/uploads/upload-000003/picture?size=payload").status_code == 422
