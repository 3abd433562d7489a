"""Rates: requests of a kind in a minute, and bytes in an hour, of one key, person or address."""

import time

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from conf.web_section import Web
from web.access.principal import Principal
from web.problems.problem import Problem


class Rates:
    """Counts requests in this process.

    Args:
        web: settings with the rates.
    """

    def __init__(self, web: Web) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._web = web
        self._items = {
            "uploads": RateLimitItemPerMinute(web.uploads_per_minute),
            "predictions": RateLimitItemPerMinute(web.predictions_per_minute),
            "logins": RateLimitItemPerMinute(web.logins_per_minute),
        }

    def count(self, kind: str, who: str) -> None:
        """Count a request.

        Raises:
            Problem: 429, too many in the last minute.
        """
        self._count(self._items[kind], kind, who)

    def count_upload(self, who: Principal) -> None:
        """Count an upload; a key may have a rate of its own.

        Raises:
            Problem: 429, too many in the last minute.
        """
        own = who.limits.uploads_per_minute
        self._count(RateLimitItemPerMinute(own) if own else self._items["uploads"], "uploads", who.counted)

    def refuse_bytes(self, who: Principal, size: int) -> None:
        """Refuse an upload that would be more than the bytes of an hour.

        Raises:
            Problem: 429.
        """
        item = self._hourly(who)
        if size and not self._limiter.test(item, "bytes", who.counted, cost=size):
            wait = self._wait(item, "bytes", who.counted)
            raise Problem(
                429,
                f"more than {item.amount:,} bytes of uploads an hour: try again in {wait} s",
                retry_after=wait,
            )

    def count_bytes(self, who: Principal, size: int) -> None:
        """Count the bytes of an upload that is stored."""
        self._limiter.hit(self._hourly(who), "bytes", who.counted, cost=size)

    def _hourly(self, who: Principal) -> RateLimitItem:
        return RateLimitItemPerHour(who.limits.bytes_per_hour or self._web.upload_bytes_per_hour)

    def _count(self, item: RateLimitItem, kind: str, who: str) -> None:
        if not self._limiter.hit(item, kind, who):
            wait = self._wait(item, kind, who)
            raise Problem(
                429, f"more than {item.amount} {kind} a minute: try again in {wait} s", retry_after=wait
            )

    def _wait(self, item: RateLimitItem, kind: str, who: str) -> int:
        """Whole seconds until there is room."""
        return max(1, round(self._limiter.get_window_stats(item, kind, who).reset_time - time.time()))
