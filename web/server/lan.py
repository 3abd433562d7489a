"""Access from phones on the same network: an address, a certificate, and a QR code for the terminal.

Browsers give a page the camera, the location and random ids only over HTTPS. The certificate is made here, by
an authority that exists on this machine only. So a phone warns once, unless its owner installs the
authority's certificate, which the server offers at /certificate.
"""

import io
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import segno
import trustme

_DAYS = 365
_RENEWAL = timedelta(days=14)  # before it ends


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate: private key, chain, and the authority's certificate."""

    key: Path
    chain: Path
    authority: Path


def addresses() -> list[str]:
    """Addresses of this machine in its networks, the one of the default route first; no loopback."""
    found: list[str] = []
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses a route. RFC 5737
        found.append(str(probe.getsockname()[0]))
    with suppress(OSError):
        for *_, address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET):
            found.append(str(address[0]))
    return [each for each in dict.fromkeys(found) if not each.startswith("127.") and each != "0.0.0.0"]


def certificate(folder: Path, names: list[str]) -> Certificate:
    """The certificate for names and addresses of this machine; made when it is missing, old or for others.

    The authority stays the same, so that a phone that trusts it keeps doing so.
    """
    files = Certificate(folder / "server.key", folder / "server.pem", folder / "authority.pem")
    issued = folder / "names.txt"
    wanted = "\n".join([*names, (datetime.now(UTC) + _RENEWAL).date().isoformat()])
    with suppress(OSError, ValueError):
        *known, until = issued.read_text().splitlines()
        if known == names and until > wanted.splitlines()[-1] and files.key.exists():
            return files
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _authority(folder / "authority.key", files.authority)
    until_day = datetime.now(UTC) + timedelta(days=_DAYS)
    made = authority.issue_cert(*names, not_after=until_day)
    _write(files.key, made.private_key_pem.bytes())
    _write(files.chain, b"".join(pem.bytes() for pem in made.cert_chain_pems))
    _write(issued, "\n".join([*names, until_day.date().isoformat()]).encode())
    return files


def qr_code(url: str) -> str:
    """A QR code in characters of a terminal, two modules high each."""
    output = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(output, compact=True, border=2)
    return output.getvalue().rstrip("\n")


def _authority(key: Path, chain: Path) -> trustme.CA:
    with suppress(OSError, ValueError):
        return trustme.CA.from_pem(chain.read_bytes(), key.read_bytes())
    made = trustme.CA(organization_name="Deep Images Hub", organization_unit_name="on this machine")
    _write(key, made.private_key_pem.bytes())
    _write(chain, made.cert_pem.bytes())
    return made


def _write(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    partial = file.with_name(f".{file.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
    partial.replace(file)
