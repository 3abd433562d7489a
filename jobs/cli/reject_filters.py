"""Flags that select rejected uploads: --reason, --batch, --device and --since."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from re import fullmatch
from typing import TYPE_CHECKING, Any

import click

from conf.errors import UsageError

if TYPE_CHECKING:
    from streaming.rejects import Selection

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --reason, --batch, --device and --since to a command."""
    for option in (
        click.option("--since", metavar="TIME", help="Ingested since: 30m, 12h, 7d, or an ISO 8601 time."),
        click.option("--device", "devices", multiple=True, help="Only this device; may be repeated."),
        click.option("--batch", "batches", multiple=True, help="Only this upload batch; may be repeated."),
        click.option("--reason", "reasons", multiple=True, help="Only this reason; may be repeated."),
    ):
        command = option(command)
    return command


def parse_selection(
    reasons: tuple[str, ...],
    batches: tuple[str, ...],
    devices: tuple[str, ...],
    since: str | None,
    positions: tuple[str, ...] = (),
    limit: int | None = None,
) -> "Selection":
    """Parse the values of the flags.

    Raises:
        UsageError: a reason is unknown, or a time or position cannot be parsed.
    """
    from streaming.contract.verdict import REASONS
    from streaming.rejects import Selection, parse_position

    for reason in reasons:
        if reason not in REASONS:
            raise UsageError(f"--reason {reason!r}: the reasons are {', '.join(REASONS)}")
    return Selection(
        reasons,
        batches,
        devices,
        _parse_time(since) if since else None,
        tuple(map(parse_position, positions)),
        limit,
    )


def _parse_time(text: str) -> datetime:
    ago = fullmatch(r"(\d{1,6})([mhd])", text)
    try:
        if ago:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(f"--since {text!r}: give 30m, 12h, 7d, or a time such as 2026-11-21T08:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
