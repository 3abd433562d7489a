"""`hub rejects`: list rejected uploads, or save the original bytes of one to a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run
from jobs.cli.reject_filters import filter_options, parse_selection

if TYPE_CHECKING:
    from streaming.rejects import Listing

_LIMIT = 50
_DETAIL_CHARACTERS = 60


@click.command(cls=Command, name="rejects", example="hub rejects --reason too_small --since 7d")
@filter_options
@click.option(
    "--limit", type=click.IntRange(min=1), default=_LIMIT, help=f"Maximum number of uploads ({_LIMIT})."
)
@click.option(
    "--save",
    nargs=2,
    metavar="POSITION FILE",
    help="Save the original bytes of the upload at topic/partition/offset.",
)
@click.option("--overwrite", is_flag=True, help="Let --save overwrite a file.")
def main(
    reasons: tuple[str, ...], batches: tuple[str, ...], devices: tuple[str, ...], since: str | None,
    limit: int,    save: tuple[str, str] | None, overwrite: bool,
) -> Outcome:  # fmt: skip
    """List rejected uploads with their reasons, newest first.

    --save writes the bytes of an untrusted upload: open the file with care.
    """
    from conf import settings as configuration
    from lake.spark import session
    from streaming import rejects

    settings = configuration.load()
    chosen = parse_selection(reasons, batches, devices, since, limit=limit)
    at, file = (
        (rejects.parse_position(save[0]), _checked_target(save[1], overwrite)) if save else (None, None)
    )
    spark = session.start(settings, "rejects")
    try:
        if at is not None and file is not None:
            content = rejects.original_bytes(spark, settings.lake, at)
            _write(file, content, overwrite)
            saved = {"position": rejects.format_position(at), "file": str(file), "bytes": len(content)}
            return saved, f"{len(content):,} bytes of {rejects.format_position(at)} written to {file}", 0
        listing = rejects.list_rejects(spark, settings.lake, chosen)
    finally:
        session.stop(spark)
    return (
        {"rejected": listing.total, "reasons": listing.counts, "uploads": listing.rows},
        summary(listing),
        0,
    )


def summary(listing: "Listing") -> str:
    """The list as text."""
    from jobs.cli.text_table import format_table

    if not listing.total:
        return "no rejected uploads"
    rows = [
        [
            f"{row['topic']}/{row['partition']}/{row['offset']}", row["reason"], _shorten(row["detail"]),
            row["device"], row["batch"], row["bytes"], f"{row['ingest_time']:%Y-%m-%d %H:%M:%S}",
        ]
        for row in listing.rows
    ]  # fmt: skip
    columns = ["position", "reason", "detail", "device", "batch", "bytes", "ingested (UTC)"]
    shown = (
        f"the newest {len(rows):,} of {listing.total:,}:"
        if len(rows) < listing.total
        else f"{listing.total:,}:"
    )
    return "\n".join(
        [
            format_table(["rejected for", "uploads"], listing.counts.items()),
            "",
            shown,
            format_table(columns, rows),
        ]
    )


def _shorten(detail: str | None) -> str | None:
    if detail is None or len(detail) <= _DETAIL_CHARACTERS:
        return detail
    return f"{detail[: _DETAIL_CHARACTERS - 1]}…"


def _checked_target(name: str, overwrite: bool) -> Path:
    file = Path(name)
    if file.is_dir():
        raise UsageError(f"--save {name}: this is a folder; give a file name")
    if not file.parent.is_dir():
        raise UsageError(f"--save {name}: there is no folder {file.parent}")
    if file.exists() and not overwrite:
        raise UsageError(f"--save {name}: the file exists; --overwrite replaces it")
    return file


def _write(file: Path, content: bytes, overwrite: bool) -> None:
    try:
        with file.open("wb" if overwrite else "xb") as target:
            target.write(content)
    except OSError as error:
        raise UsageError(f"--save {file}: {error.strerror}") from None


if __name__ == "__main__":
    run(main)
