"""Serves the files in `web/pages/static`, with types fixed by us and addresses that may be kept for ever."""

from starlette import staticfiles
from starlette.responses import Response
from starlette.types import Scope

from web.pages.rendering import STATIC

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
_WORKER = "upload-worker.js"


class StaticFiles(staticfiles.StaticFiles):
    """The static files of the pages."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file. Its address has a hash of its content, so browsers may keep it."""
        answer = await super().get_response(path, scope)
        suffix = path[path.rfind(".") :]
        if suffix in _TYPES:
            answer.headers["Content-Type"] = _TYPES[suffix]
        if path == _WORKER:
            answer.headers["Service-Worker-Allowed"] = "/upload"  # else it could serve /static only
        versioned = b"v=" in scope.get("query_string", b"")
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if versioned else "no-cache"
        return answer
