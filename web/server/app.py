"""Makes the application: routers, middleware, errors, and resources that open and close with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware

from conf.version import code_version
from web.access.same_origin import LOOPBACK, SameOrigin
from web.access.security_headers import SecurityHeaders
from web.api import catalogue, faces, predictions, reviews, similar, trainings, uploads, watch
from web.pages import api_page, browse, curate, home, join, learn, login, my_uploads, sql, upload
from web.pages.rendering import problem_page
from web.problems import handlers
from web.resources.resources import Resources
from web.server.request_counter import RequestCounter
from web.server.static_files import StaticFiles

API = "/api/v1"
API_ROUTERS = (
    uploads.router,
    catalogue.router,
    predictions.router,
    reviews.router,
    trainings.router,
    similar.router,
    faces.router,
)
PAGE_ROUTERS = (
    home.router,
    login.router,
    upload.router,
    my_uploads.router,
    api_page.router,
    sql.router,
    join.router,
    *browse.ROUTERS,
    *curate.ROUTERS,
    *learn.ROUTERS,
)
"""A new router of the API or of pages is one entry in these."""

_COMPRESS_BYTES = 1000


def create(resources: Resources, hosts: frozenset[str] = LOOPBACK) -> FastAPI:
    """Make the application.

    Args:
        resources: are opened when it starts and closed when it stops.
        hosts: names by which browsers may address it; empty: any.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = resources.settings.web.threads
        app.state.stopping = asyncio.Event()
        await asyncio.to_thread(resources.open)
        try:
            yield
        finally:
            await asyncio.to_thread(resources.close)

    app = FastAPI(
        title="Deep Images Hub",
        version=code_version(),
        description="Uploads of labelled pictures, their verdicts, labels, datasets and models.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # both load code from other hosts; the page /api shows the same
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.resources = resources
    for router in API_ROUTERS:
        app.include_router(router, prefix=API, responses=_problems())
    app.include_router(watch.router)
    pages = APIRouter(include_in_schema=False)
    for router in PAGE_ROUTERS:
        pages.include_router(router)
    app.include_router(pages)
    app.mount("/static", StaticFiles())
    handlers.install(app, problem_page)
    # The last one added is the first that a request passes.
    app.add_middleware(GZipMiddleware, minimum_size=_COMPRESS_BYTES)
    app.add_middleware(SameOrigin, hosts=hosts)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestCounter, metrics=resources.metrics)
    return app


def _problems() -> dict[int | str, dict[str, Any]]:
    """The answers to failed requests, for the schema."""
    schema = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
            "retry_after": {"type": "integer"},
        },
    }
    content = {handlers.MEDIA_TYPE: {"schema": schema}}
    return {"4XX": {"description": "A problem", "content": content}}
