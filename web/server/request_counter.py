"""Counts requests with their route, status and time."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.resources.metrics import Metrics


class RequestCounter:
    """Middleware that counts each request when its answer ends.

    Args:
        app: the application.
        metrics: where it is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # FastAPI's own key: the route's pattern with the prefixes of its routers.
            matched = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
            route = getattr(matched, "path", "other")
            self._metrics.count_request(scope["method"], route, status, time.monotonic() - begun)
