"""Paging by key: a page names the last key it has, and the next page begins after it.

A page by key costs the same at the start and at the end of a million rows, and rows that arrive meanwhile
shift nothing.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from web.data.mirror import Mirror
from web.problems.problem import Problem

T = TypeVar("T")
MAX_LIMIT = 200


class Page(BaseModel, Generic[T]):
    """A page of rows; `next` is the key for the page after it, null at the end."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next: str | None = None


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list that is read in pages.

    Args:
        source: a table, or a query in parentheses.
        columns: that `make` needs.
        key: columns that order the list and identify a row, each with its DuckDB type.
        make: makes a row from a mapping of the columns.
        descending: the largest key first.
    """

    source: str
    columns: Sequence[str]
    key: Mapping[str, str]
    make: Callable[[dict[str, Any]], T]
    descending: bool = False

    def page(self, mirror: Mirror, limit: int, after: str | None, where: "Where | None" = None) -> Page[T]:
        """Read a page.

        Args:
            limit: rows of the page.
            after: `next` of the page before; None for the first.
            where: conditions of the list.

        Raises:
            Problem: 422, `after` is no key of this list.
        """
        where = where or Where()
        values, conditions = dict(where.values), list(where.conditions)
        keys = ", ".join(f'"{name}"' for name in self.key)
        if (last := _parse(after, len(self.key))) is not None:
            marks = ", ".join(f"$key{n}::{kind}" for n, kind in enumerate(self.key.values()))
            conditions.append(f"({keys}) {'<' if self.descending else '>'} ({marks})")
            values |= {f"key{n}": value for n, value in enumerate(last)}
        direction = "DESC" if self.descending else "ASC"
        order = ", ".join(f'"{name}" {direction}' for name in self.key)
        columns = ", ".join(f'"{name}"' for name in dict.fromkeys([*self.columns, *self.key]))
        filtered = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        statement = f"SELECT {columns} FROM {self.source} {filtered}ORDER BY {order} LIMIT {int(limit) + 1}"
        try:
            rows = mirror.rows(statement, values)
        except mirror.CONVERSION_ERRORS as error:
            raise _no_key(after) from error
        items = [self.make({name: row[name] for name in self.columns}) for row in rows[:limit]]
        return Page(items=items, next=_text(rows[limit - 1], self.key) if len(rows) > limit else None)


@dataclass(frozen=True)
class Where:
    """Conditions of a list with their named values; all must hold."""

    conditions: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def equal(self, **columns: object) -> "Where":
        """These conditions, and columns that equal values; None means any."""
        given = {name: value for name, value in columns.items() if value is not None}
        added = [f'"{name}" = $equal_{name}' for name in given]
        values = {f"equal_{name}": value for name, value in given.items()}
        return Where([*self.conditions, *added], self.values | values)

    def holds(self, condition: str, **values: object) -> "Where":
        """These conditions, and one in SQL with `$name` for its values."""
        return Where([*self.conditions, condition], self.values | values)


def _parse(after: str | None, parts: int) -> list[Any] | None:
    if not after:
        return None
    try:
        padded = after + "=" * (-len(after) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError:
        raise _no_key(after) from None
    if not isinstance(values, list) or len(values) != parts or not all(map(_is_plain, values)):
        raise _no_key(after)
    return values


def _no_key(after: str | None) -> Problem:
    return Problem(422, f"after = {(after or '')[:80]!r} is no key that this list has given", "bad_parameter")


def _text(row: Mapping[str, Any], key: Mapping[str, str]) -> str:
    values = [value.isoformat() if isinstance(value := row[name], datetime) else value for name in key]
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int) and not (isinstance(value, str) and "\0" in value)
