"""Sending without Kafka: what is refused before Kafka is asked, and that nothing is claimed to be stored."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.support import pictures
from web.resources.resources import Resources

_PATH = "/api/v1/uploads"


def test_without_kafka_the_answer_is_503_with_retry_after_and_no_receipt(
    client: TestClient, resources: Resources
) -> None:
    answer = client.post(_PATH, params={"label": "cat", "id": "one"}, content=pictures.jpeg(seed=1))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["code"] == "kafka_unavailable"
    assert client.get(f"{_PATH}/one").status_code == 404
    assert resources.budget.used == 0


@pytest.mark.parametrize(
    ("query", "headers", "content", "status", "code"),
    [
        ({"label": "cat"}, {}, b"", 422, "empty"),
        ({}, {}, b"\xff\xd8\xff\xe0", 422, "missing_header"),
        ({"label": "///"}, {}, b"\xff\xd8\xff\xe0", 422, "bad_label"),
        ({"label": "cat", "time": "yesterday"}, {}, b"\xff\xd8\xff\xe0", 422, "bad_header"),
        ({"label": "cat", "geo": "north"}, {}, b"\xff\xd8\xff\xe0", 422, "bad_header"),
        ({"label": "cat", "id": "a/b"}, {}, b"\xff\xd8\xff\xe0", 422, "bad_header"),
        ({"label": "cat", "id": ""}, {}, b"\xff\xd8\xff\xe0", 422, "bad_header"),
        ({"label": "cat", "sha256": "0" * 64}, {}, b"\xff\xd8\xff\xe0", 422, "checksum_mismatch"),
        ({"label": "cat", "device": "a b"}, {}, b"\xff\xd8\xff\xe0", 422, "bad_header"),
        ({"label": "cat", "dataref": "file:///etc/passwd"}, {}, b"\xff\xd8\xff\xe0", 422, ""),
        ({"label": "cat"}, {"ce-dataref": "s3://a/b"}, b"", 422, ""),
        ({"label": "cat"}, {"ce-type": "other"}, b"\xff\xd8\xff\xe0", 422, "bad_header"),
        ({"label": "cat"}, {"ce-label": "%ff"}, b"\xff\xd8\xff\xe0", 422, "bad_header"),
        ({"label": "cat"}, {}, b"%PDF-1.4", 415, "unsupported_format"),
        ({"label": "cat"}, {"content-type": "text/html"}, b"\xff\xd8\xff\xe0", 415, "unsupported_format"),
        ({"label": "cat", "id": "upload-000001"}, {}, b"\xff\xd8\xff\xe0", 409, "duplicate_upload"),
    ],
)
def test_what_cannot_become_a_record_is_refused_at_once(
    client: TestClient, query: dict[str, str], headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    answer = client.post(_PATH, params=query, headers=headers, content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    if code:
        assert answer.json()["code"] == code


def test_a_body_that_is_too_large_is_refused_before_and_while_it_is_read(
    client: TestClient, resources: Resources
) -> None:
    limit = resources.settings.ingest.max_bytes
    declared = client.post(_PATH, params={"label": "cat"}, content=bytes(limit + 1))
    assert (declared.status_code, declared.json()["code"]) == (413, "too_large")

    def chunks() -> Iterator[bytes]:
        yield from (bytes(1 << 20) for _ in range(limit // 2**20 + 2))

    chunked = client.post(_PATH, params={"label": "cat"}, content=chunks())
    assert (chunked.status_code, chunked.json()["code"]) == (413, "too_large")
    assert resources.budget.used == 0


def test_more_bodies_than_memory_are_answered_503(client: TestClient, resources: Resources) -> None:
    resources.budget.take(resources.settings.web.upload_bytes - 10)
    answer = client.post(_PATH, params={"label": "cat"}, content=pictures.jpeg(seed=1))
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert "retry-after" in answer.headers


def test_readiness_says_what_is_missing_and_health_does_not(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["tables"] == ""
    assert "hub up" in answer.json()["kafka"]


def test_metrics_count_requests_by_route(client: TestClient) -> None:
    client.get("/api/v1/uploads/upload-000001")
    text = client.get("/metrics").text
    assert 'hub_web_requests_total{method="GET",route="/api/v1/uploads/{upload_id}",status="200"} 1.0' in text
    assert 'hub_web_table_version{table="uploads"} 0.0' in text
