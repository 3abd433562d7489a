"""`hub serve`: the pages and the HTTP API."""

import json
from typing import TYPE_CHECKING

import click

from jobs.cli.command import Command, Outcome, quiet, run

if TYPE_CHECKING:
    from conf.settings import Settings
    from web.resources.resources import Resources


@click.command(cls=Command, name="serve", example="hub serve")
@click.option("--lan", is_flag=True, help="Serve phones on the same network, with HTTPS and a QR code.")
def main(lan: bool) -> Outcome:
    """Serve the pages and the HTTP API, until Ctrl-C or SIGTERM.

    On loopback, with the embedded broker and without accounts, it needs no login. Uploads need a running
    broker (`hub up`), their verdicts a running `hub ingest`. With --lan it listens on all addresses of this
    machine; who scans the QR code in the terminal may upload, others log in (`hub users add`). It stops when
    the requests that are running have ended.
    """
    from conf import settings as configuration

    settings = configuration.load()
    if lan:
        _serve_network(settings)
    else:
        _serve(settings)
    return click.get_current_context().exit(0)  # the one line is printed already


def _serve(settings: "Settings") -> None:
    from web.access.same_origin import LOOPBACK
    from web.server import app, process

    loopback = settings.web.host in LOOPBACK
    listener = process.listen(settings.web.host, settings.web.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    resources = _resources(settings, opened=loopback and not settings.kafka.bootstrap)
    server = process.Server(app.create(resources, LOOPBACK if loopback else frozenset()), listener)

    login = "no login" if resources.opened and not resources.accounts.exist() else "with a login"
    line = _telling(url, f"The hub is at {url} ({login}; Ctrl-C stops it)")
    server.run_until_stopped(settings.logs.dir, lambda: click.echo(line))


def _serve_network(settings: "Settings") -> None:
    from web.access.same_origin import LOOPBACK
    from web.server import app, lan, process
    from web.server.errors import ServerError

    found = lan.addresses()
    if not found:
        raise ServerError("this machine has no address in a network: connect it, or serve without --lan")
    everywhere = settings.web.host in LOOPBACK
    listener = process.listen("0.0.0.0" if everywhere else settings.web.host, settings.web.port)
    names = [*(found if everywhere else [settings.web.host]), "localhost", "127.0.0.1"]
    files = lan.certificate(settings.web.dir / "lan", names)
    resources = _resources(settings, opened=False, lan=True)
    server = process.Server(app.create(resources, frozenset()), listener, (files.key, files.chain))
    url = f"https://{names[0]}:{listener.getsockname()[1]}"

    join = f"{url}/join?token={resources.sessions.lan_token}"
    line = _telling(
        join,
        f"{lan.qr_code(join)}\nThe hub is at {url}. Scan the code with a phone on the same network: who "
        f"has it may upload.\nThe phone warns about the certificate, which was made here; {url}/certificate\n"
        "has the authority's, to install. Ctrl-C stops the hub.",
    )
    server.run_until_stopped(settings.logs.dir, lambda: click.echo(line))


def _resources(settings: "Settings", opened: bool, lan: bool = False) -> "Resources":
    from local import broker
    from web.resources.resources import Resources

    return Resources(settings, lambda: broker.address(settings), opened, lan)


def _telling(url: str, text: str) -> str:
    """The line that is printed when the server is up."""
    return json.dumps({"url": url}) if quiet() else text


if __name__ == "__main__":
    run(main)
