"""The application on a lake, for tests of pages: no login, no broker; in this process or its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from fastapi.testclient import TestClient

from conf.settings import Settings
from local.errors import NoBroker
from tests.support.waiting import wait_until
from tests.web.serving import Served, served
from web.resources.resources import Resources
from web.server import app


@contextmanager
def ready(settings: Settings) -> Iterator[Served]:
    """A server in a process of its own that has read the tables."""
    with served(settings) as running:
        assert wait_until(lambda: not httpx.get(f"{running.url}/readyz").json()["tables"], 60)
        yield running


def browser(settings: Settings) -> TestClient:
    """The application on a lake, open as on loopback."""

    def no_broker() -> str:
        raise NoBroker("no broker in this test")

    resources = Resources(settings, no_broker, opened=True)
    application = app.create(resources, frozenset({"testserver"}))
    return _Browser(application, resources)


class _Browser(TestClient):
    """Waits at its start until the copies of the tables are read."""

    def __init__(self, application: object, resources: Resources) -> None:
        super().__init__(application, headers={"accept": "text/html"})  # type: ignore[arg-type]
        self.resources = resources

    def __enter__(self) -> "_Browser":
        super().__enter__()
        assert self.resources.freshness.ready.wait(30)
        return self
