"""What machines watch: whether the server lives, whether it is ready, and its numbers for Prometheus."""

from dataclasses import asdict, dataclass

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from lake.table import Table
from web.access.principal import Role
from web.problems.problem import Problem
from web.resources.dependencies import Anybody, Shared

router = APIRouter(tags=["watch"])


@dataclass(frozen=True)
class Readiness:
    """Whether each part works; empty: it does, else why not."""

    tables: str
    kafka: str
    verdicts: str


@router.get("/healthz", summary="Whether the server lives")
def healthz() -> dict[str, str]:
    """Answers while the process can answer requests."""
    return {"status": "alive"}


@router.get("/readyz", summary="Whether uploads and lists work", responses={503: {"model": Readiness}})
def readyz(shared: Shared, who: Anybody) -> JSONResponse:
    """200 if the tables are copied and Kafka takes uploads, else 503; the body says what does not work.

    Only an admin reads why: it names addresses inside the hub.
    """
    found = Readiness(
        tables=shared.freshness.problem or "",
        kafka=shared.kafka.connect() or "",
        verdicts=shared.feed.problem or "",
    )
    told = asdict(found)
    if who is None or not who.may(Role.ADMIN):
        told = {name: why and "unavailable" for name, why in told.items()}
    return JSONResponse(told, 503 if found.tables or found.kafka else 200)


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
def metrics(shared: Shared, who: Anybody) -> Response:
    """Requests, uploads, memory and table versions in Prometheus' text format; for admins."""
    if who is None or not who.may(Role.ADMIN):
        raise Problem(401, "send the API key of an admin", headers={"WWW-Authenticate": "Bearer"})
    shared.metrics.observe(
        bytes_in_memory=shared.budget.used,
        without_verdict=shared.receipts.count(),
        versions={table.value: shared.mirror.version(table) for table in Table},
    )
    return Response(shared.metrics.text(), media_type=CONTENT_TYPE_LATEST)
