"""The published schema: whatever it allows, and whatever it does not, is never an error of the server."""

from collections import Counter
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


def test_no_request_is_an_error_of_the_server(api: tuple[Served, str]) -> None:
    server, key = api
    # Server-sent events have no end; another test reads them. Trainings stay in the queue.
    published = schemathesis.openapi.from_url(f"{server.url}/api/v1/openapi.json")
    schema = published.exclude(path_regex="verdicts$")
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=_EXAMPLES, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        def check(case: Any) -> None:
            answer = case.call(headers={"Authorization": f"Bearer {key}"})
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text[:300]}"

        check()
    assert statuses[200] > _EXAMPLES, statuses
    assert statuses[422] > 0, statuses
