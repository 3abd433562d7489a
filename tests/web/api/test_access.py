"""Who may do what over HTTP: keys, roles, other sites, own uploads only; and the headers of every answer."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from conf.errors import HubError
from conf.settings import Settings
from web.access.principal import Limits, Role
from web.resources.resources import Resources
from web.server import app

ADDRESSES = (
    "/",
    "/upload",
    "/mine",
    "/api",
    "/sql",
    "/login",
    "/nowhere",
    "/api/v1/uploads",
    "/api/v1/nowhere",
)


def _nowhere() -> str:
    raise HubError("no broker")


@pytest.fixture
def closed(filled: Settings) -> Iterator[TestClient]:
    """The application with accounts: anna uploads, bert reviews, carl trains, dora is an admin."""
    resources = Resources(filled, _nowhere, opened=True)
    roles = zip(("anna", "bert", "carl", "dora"), Role, strict=True)
    for name, role in roles:
        resources.accounts.set_person(name, role, f"password of {name}")
    with TestClient(app.create(resources), base_url="http://localhost", follow_redirects=False) as client:
        assert resources.freshness.ready.wait(20)
        client.app.state.resources = resources  # type: ignore[attr-defined]
        yield client


def _resources(client: TestClient) -> Resources:
    found = client.app.state.resources  # type: ignore[attr-defined]
    assert isinstance(found, Resources)
    return found


def _key(client: TestClient, user: str, role: Role = Role.UPLOADER) -> dict[str, str]:
    _, secret = _resources(client).accounts.make_key(user, "phone-1", role)
    return {"Authorization": f"Bearer {secret}"}


def _login(client: TestClient, name: str) -> None:
    answer = client.post("/login", data={"name": name, "password": f"password of {name}", "next": "/mine"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/mine")


@pytest.mark.parametrize("path", ADDRESSES)
def test_every_answer_has_the_policy_and_nothing_unsafe(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"accept": "text/html"})
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"]
    if answer.headers["content-type"].startswith("text/html"):
        assert "<script>" not in answer.text and " style=" not in answer.text and "http://" not in answer.text
        assert " onclick" not in answer.text and "hx-on" not in answer.text


def test_accounts_close_the_hub(closed: TestClient) -> None:
    assert closed.get("/api/v1/uploads").status_code == 401
    page = closed.get("/mine", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/mine")
    assert closed.get("/healthz").status_code == 200
    assert closed.get("/metrics").status_code == 401


def test_a_login_opens_a_session_that_scripts_cannot_read(closed: TestClient) -> None:
    wrong = closed.post("/login", data={"name": "anna", "password": "guess"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    _login(closed, "anna")
    assert closed.get("/mine").status_code == 200
    left = closed.post("/logout")
    assert left.status_code == 303
    assert closed.get("/api/v1/uploads").status_code == 401
    answer = closed.post("/login", data={"name": "anna", "password": "password of anna"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"]
)
def test_a_login_goes_on_inside_the_hub_only(closed: TestClient, target: str) -> None:
    data = {"name": "anna", "password": "password of anna", "next": target}
    assert closed.post("/login", data=data).headers["location"] == "/"


def test_guessing_passwords_is_slowed_down(closed: TestClient) -> None:
    answers = [closed.post("/login", data={"name": "anna", "password": "x"}).status_code for _ in range(12)]
    assert answers[:10] == [401] * 10
    assert answers[-1] == 429


def test_an_uploader_sees_their_own_uploads_only(closed: TestClient) -> None:
    own, other = _key(closed, "user-1"), _key(closed, "bert", Role.REVIEWER)
    listed = closed.get("/api/v1/uploads", headers=own).json()["items"]
    assert {row["user"] for row in listed} == {"user-1"}
    assert closed.get("/api/v1/uploads/upload-000001", headers=own).status_code == 200
    for path in ("", "/picture"):
        assert closed.get(f"/api/v1/uploads/upload-000002{path}", headers=own).status_code == 404
    assert closed.get("/api/v1/uploads", params={"user": "user-2"}, headers=own).status_code == 403
    assert len(closed.get("/api/v1/uploads", headers=other).json()["items"]) == 33
    assert closed.get("/api/v1/uploads/upload-000002", headers=other).status_code == 200


def test_roles_open_what_they_name(closed: TestClient) -> None:
    for role, path, status in (
        (Role.UPLOADER, "/api/v1/labels", 200),
        (Role.UPLOADER, "/api/v1/samples", 403),
        (Role.REVIEWER, "/api/v1/samples", 200),
        (Role.REVIEWER, "/sql", 403),
        (Role.TRAINER, "/sql", 200),
        (Role.TRAINER, "/metrics", 401),
        (Role.ADMIN, "/metrics", 200),
    ):
        assert closed.get(path, headers=_key(closed, "anna", role)).status_code == status, (role, path)


def test_a_key_sends_for_its_user_and_device_only(closed: TestClient) -> None:
    key = _key(closed, "anna")
    for query in ({"user": "bert"}, {"source": "/devices/other"}):
        answer = closed.post("/api/v1/uploads", params={"label": "cat"} | query, content=b"x", headers=key)
        assert answer.status_code == 403, query
    gateway = _key(closed, "gateway", Role.ADMIN)
    answer = closed.post(
        "/api/v1/uploads", params={"label": "cat", "user": "bert"}, content=b"x", headers=gateway
    )
    assert answer.status_code == 415, "it may send for others; the content is no picture"


def test_a_key_has_a_size_and_a_rate_of_its_own(closed: TestClient) -> None:
    limits = Limits(uploads_per_minute=3, upload_bytes=1000)
    _, secret = _resources(closed).accounts.make_key("anna", "phone-1", limits=limits)
    own, other = {"Authorization": f"Bearer {secret}"}, _key(closed, "anna")
    large, address = b"\xff\xd8\xff" + bytes(1000), "/api/v1/uploads?label=cat"
    refused = closed.post(address, content=large, headers=own)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    assert "1,000 bytes" in refused.json()["detail"]
    assert closed.post(address, content=large, headers=other).status_code == 503, "there is no broker"
    assert [closed.post(address, content=b"x", headers=own).status_code for _ in range(3)] == [415, 415, 429]
    assert closed.post(address, content=b"x", headers=other).status_code == 415


def test_a_revoked_or_unknown_key_is_refused_at_once(closed: TestClient) -> None:
    key = _key(closed, "anna")
    assert closed.get("/api/v1/labels", headers=key).status_code == 200
    _resources(closed).accounts.revoke(_resources(closed).accounts.keys()[0].key_id)
    refused = closed.get("/api/v1/labels", headers=key)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert closed.get("/api/v1/labels", headers={"Authorization": "Bearer x"}).status_code == 401


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"origin": "http://localhost"}, False),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "http://localhost:1"}, True),
        ({"origin": "null"}, True),
        ({"host": "evil.example"}, True),
        ({"host": "127.0.0.1:8420"}, False),
        ({"host": "[::1]:8420"}, False),
        ({"host": "localhost.evil.example"}, True),
    ],
)
def test_requests_of_other_sites_change_nothing(
    client: TestClient, headers: dict[str, str], refused: bool
) -> None:
    answer = client.post("/logout", headers=headers, follow_redirects=False)
    assert answer.status_code == (403 if refused else 303)
    if refused:
        assert answer.json()["code"] == "other_origin"
        assert "content-security-policy" in answer.headers


def test_another_name_of_this_host_reads_nothing(client: TestClient) -> None:
    assert client.get("/api/v1/uploads", headers={"host": "evil.example"}).status_code == 403
    sent = {"sec-fetch-site": "cross-site"}
    assert client.get("/sql", params={"q": "SELECT 1"}, headers=sent).status_code == 403
