"""The published schema: whatever it allows, and whatever it does not, is never an error of the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake.table import Table
from streaming import topics
from tests.web import lakes
from tests.web.serving import Served, served
from web.access.accounts import Accounts
from web.access.principal import Role

pytestmark = pytest.mark.services

_EXAMPLES = 12


@pytest.fixture(scope="module")
def api(
    settings: Settings, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, str]]:
    """A server on a lake with uploads and a real broker, and the key of an admin."""
    folder: Path = tmp_path_factory.mktemp("schema")
    names = {"topic": "schema", "rejected_topic": "schema.rejected", "verdicts_topic": "schema.verdicts"}
    kafka: Kafka = settings.kafka.model_copy(update=names | {"bootstrap": broker})
    topics.create(kafka, broker)
    web = settings.web.model_copy(update={"dir": folder / "web", "trainings_at_once": 0})
    own = settings.model_copy(update={"lake": Lake(root=str(folder / "lake")), "kafka": kafka, "web": web})
    lakes.append(own, Table.UPLOADS, map(lakes.upload_row, range(20)))
    _, key = Accounts(web.dir / "accounts.db").make_key("anna", "phone-7", Role.ADMIN)
    with served(own) as running:
        yield running, key


@pytest.fixture(scope="module")
def api_schema(api: tuple[Served, str]) -> Any:
    return schemathesis.openapi.from_url(f"{api[0].url}/api/v1/openapi.json")


# Server-sent events have no end; tests/web/test_round_trip.py reads them.
schema = schemathesis.pytest.from_fixture("api_schema").exclude(path_regex="verdicts$")


@schema.parametrize()
@hypothesis.settings(max_examples=_EXAMPLES, deadline=None, derandomize=True)
def test_no_request_is_an_error_of_the_server(case: Any, api: tuple[Served, str]) -> None:
    answer = case.call(headers={"Authorization": f"Bearer {api[1]}"})
    assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code >= 400 and "/api/" in answer.request.url:
        assert answer.headers["content-type"][0].startswith("application/problem+json")
