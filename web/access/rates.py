"""Rates: how many requests of a kind one key, person or address may send in a minute."""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from conf.web_section import Web
from web.problems.problem import Problem


class Rates:
    """Counts requests in this process.

    Args:
        web: settings with the rates.
    """

    def __init__(self, web: Web) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
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
        item = self._items[kind]
        if self._limiter.hit(item, kind, who):
            return
        reset = self._limiter.get_window_stats(item, kind, who).reset_time
        wait = max(1, round(reset - time.time()))
        raise Problem(
            429, f"more than {item.amount} {kind} a minute: try again in {wait} s", retry_after=wait
        )
