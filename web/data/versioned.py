"""Keeps the answers of queries until a table has another version.

Numbers of whole tables cost tens of milliseconds for a million rows, and are asked for by each page.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from web.data.mirror import Mirror

P = ParamSpec("P")
T = TypeVar("T")


def kept_by_version(function: Callable[Concatenate[Mirror, P], T]) -> Callable[Concatenate[Mirror, P], T]:
    """Keep the answers of a function of a mirror and hashable values; callers must not change them."""

    @wraps(function)
    def kept(mirror: Mirror, /, *args: P.args, **named: P.kwargs) -> T:
        key = function.__module__, function.__qualname__, args, tuple(sorted(named.items()))
        return mirror.remember(key, lambda: function(mirror, *args, **named))

    return kept
