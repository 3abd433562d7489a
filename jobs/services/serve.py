"""`hub serve`: the pages and the HTTP API."""

import click

from jobs.cli.command import Command, Outcome, quiet, run


@click.command(cls=Command, name="serve", example="hub serve")
def main() -> Outcome:
    """Serve the pages and the HTTP API, until Ctrl-C or SIGTERM.

    On loopback, with the embedded broker and without accounts, it needs no login. Uploads need a running
    broker (`hub up`), their verdicts a running `hub ingest`. It stops when the requests that are running have
    ended.
    """
    import json

    from conf import settings as configuration
    from local import broker
    from web.access.same_origin import LOOPBACK
    from web.resources.resources import Resources
    from web.server import app, process

    settings = configuration.load()
    loopback = settings.web.host in LOOPBACK
    listener = process.listen(settings.web.host, settings.web.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    resources = Resources(
        settings, lambda: broker.address(settings), opened=loopback and not settings.kafka.bootstrap
    )
    server = process.Server(app.create(resources, LOOPBACK if loopback else frozenset()), listener, None)

    def tell() -> None:
        login = "no login" if resources.opened and not resources.accounts.exist() else "with a login"
        click.echo(json.dumps({"url": url}) if quiet() else f"The hub is at {url} ({login}; Ctrl-C stops it)")

    server.run_until_stopped(tell)
    click.get_current_context().exit(0)  # the one line is printed already


if __name__ == "__main__":
    run(main)
