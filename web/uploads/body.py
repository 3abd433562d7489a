"""Reads a request's body with limits on its size, its time, and the memory of all bodies together."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from web.problems.problem import Problem

_RETRY_SECONDS = 2


class Budget:
    """Bytes of uploads that are in memory; used from the event loop only.

    Args:
        size: most bytes at a time.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.used = 0

    def take(self, count: int) -> None:
        """Add bytes.

        Raises:
            Problem: 503, there is no room for them.
        """
        if self.used + count > self._size:
            raise Problem(
                503, "too many uploads at a time: send it again", "busy", retry_after=_RETRY_SECONDS
            )
        self.used += count

    def give(self, count: int) -> None:
        """Remove bytes."""
        self.used -= count


class Body:
    """A request's body. Its bytes count in the budget until the block ends.

    Args:
        request: not read yet.
        limit: most bytes.
        seconds: in which the whole body must arrive.
        budget: of all requests.
    """

    def __init__(self, request: Request, limit: int, seconds: float, budget: Budget) -> None:
        self._request, self._limit, self._seconds, self._budget = request, limit, seconds, budget
        self._taken = 0

    async def __aenter__(self) -> bytes:
        """Read the body.

        Raises:
            Problem: 413 too large, 408 too slow, 400 broken off, 503 no memory for it now.
        """
        try:
            self._refuse_if_larger(self._declared())
            async with asyncio.timeout(self._seconds):
                return await self._read()
        except TimeoutError:
            self._release()
            raise self._last(408, f"the body did not arrive in {self._seconds:g} s: send it again") from None
        except ClientDisconnect:
            self._release()
            raise self._last(400, "the body broke off: send it again") from None
        except BaseException:
            self._release()
            raise

    async def __aexit__(self, *exception: object) -> None:
        """Give the memory back."""
        self._release()

    async def _read(self) -> bytes:
        chunks = []
        async for chunk in self._request.stream():
            self._refuse_if_larger(self._taken + len(chunk))
            self._budget.take(len(chunk))
            self._taken += len(chunk)
            chunks.append(chunk)
        return b"".join(chunks)

    def _declared(self) -> int:
        text = self._request.headers.get("content-length", "0")
        return int(text) if text.isdigit() else 0

    def _refuse_if_larger(self, size: int) -> None:
        if size > self._limit:
            raise self._last(413, f"more than {self._limit:,} bytes: send a smaller picture", "too_large")

    @staticmethod
    def _last(status: int, detail: str, code: str = "") -> Problem:
        """A problem after which the connection is closed: the rest of the body is not read."""
        return Problem(status, detail, code, headers={"Connection": "close"})

    def _release(self) -> None:
        self._budget.give(self._taken)
        self._taken = 0
