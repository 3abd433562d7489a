"""Access from the network: a certificate that browsers' libraries accept, a code, guests who upload only."""

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from conf.errors import HubError
from conf.settings import Settings
from web.access.principal import Principal, Proof, Role
from web.resources.resources import Resources
from web.server import app, lan


def _handshake(files: lan.Certificate, name: str) -> None:
    """A TLS handshake of a client that trusts the authority only."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.chain, files.key)
    client = ssl.create_default_context(cafile=str(files.authority))
    one, other = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(one, server_side=True).close()
        except ssl.SSLError:  # the client has refused the certificate
            one.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        client.wrap_socket(other, server_hostname=name).close()
    finally:
        thread.join(10)


def test_a_certificate_is_accepted_for_its_names_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "lan"
    files = lan.certificate(folder, ["192.0.2.7", "localhost"])
    for name in ("192.0.2.7", "localhost"):
        _handshake(files, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(files, "192.0.2.8")
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    before = files.chain.read_bytes(), files.authority.read_bytes()
    lan.certificate(folder, ["192.0.2.7", "localhost"])
    assert (files.chain.read_bytes(), files.authority.read_bytes()) == before
    lan.certificate(folder, ["192.0.2.8", "localhost"])
    assert files.authority.read_bytes() == before[1], "phones that trust the authority still do"
    _handshake(files, "192.0.2.8")


def test_the_code_is_drawn_for_a_terminal() -> None:
    lines = lan.qr_code("https://192.0.2.7:8420/join?token=abc").splitlines()
    assert len(lines) > 10 and len({len(line) for line in lines}) <= 2
    assert all(not address.startswith("127.") for address in lan.addresses())


def test_who_has_the_code_may_upload_and_see_their_own(filled: Settings) -> None:
    def nowhere() -> str:
        raise HubError("no broker")

    resources = Resources(filled, nowhere, opened=False, lan=True)
    made = app.create(resources, frozenset())
    with TestClient(made, base_url="https://192.0.2.7:8420", follow_redirects=False) as client:
        assert client.get("/upload", headers={"accept": "text/html"}).status_code == 303
        for wrong in ("", "x", resources.sessions.lan_token[:-1]):
            assert client.get("/join", params={"token": wrong}).status_code == 403
        answer = client.get("/join", params={"token": resources.sessions.lan_token})
        assert (answer.status_code, answer.headers["location"]) == (303, "/upload")
        assert "secure" in answer.headers["set-cookie"].lower()
        assert client.get("/upload").status_code == 200
        assert client.get("/api/v1/uploads").json()["items"] == []
        assert client.get("/api/v1/samples").status_code == 403
        assert client.get("/certificate").status_code == 404


def test_guests_are_different_people_and_lose_access_with_the_secret(
    filled: Settings, tmp_path: Path
) -> None:
    def nowhere() -> str:
        raise HubError("no broker")

    resources = Resources(filled, nowhere, opened=False, lan=True)
    one, other = resources.sessions.guest_cookie(), resources.sessions.guest_cookie()
    first, second = resources.sessions.principal(one), resources.sessions.principal(other)
    assert isinstance(first, Principal) and isinstance(second, Principal)
    assert first.user != second.user
    assert (first.role, first.proof) == (Role.UPLOADER, Proof.SESSION)
    (filled.web.dir / "secret").unlink()
    assert Resources(filled, nowhere, opened=False, lan=True).sessions.principal(one) is None
