"""`hub rejects`: list rejected uploads, or write the original bytes of one to a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run
from jobs.cli.reject_filters import flags, selection

if TYPE_CHECKING:
    from streaming.rejects import Listing

_LIMIT = 50
_DETAIL = 60


@click.command(cls=Command, name="rejects", example="hub rejects --reason too_small --since 7d")
@flags
@click.option("--limit", type=click.IntRange(min=1), default=_LIMIT, help=f"Uploads at most ({_LIMIT}).")
@click.option(
    "--save",
    nargs=2,
    metavar="POSITION FILE",
    help="Write the bytes at topic/partition/offset, as they came.",
)
@click.option("--overwrite", is_flag=True, help="Let --save replace a file.")
def main(
    reasons: tuple[str, ...], batches: tuple[str, ...], devices: tuple[str, ...], since: str | None,
    limit: int,    save: tuple[str, str] | None, overwrite: bool,
) -> Outcome:  # fmt: skip
    """List rejected uploads with their reasons, newest first.

    The bytes that --save writes are whatever a stranger has sent; open them with care.
    """
    from conf import settings as configuration
    from lake.spark import session
    from streaming import rejects

    settings = configuration.load()
    chosen = selection(reasons, batches, devices, since, limit=limit)
    at, file = (rejects.position(save[0]), _target(save[1], overwrite)) if save else (None, None)
    spark = session.start(settings, "rejects")
    try:
        if at is not None and file is not None:
            content = rejects.original(spark, settings.lake, at)
            _write(file, content, overwrite)
            saved = {"position": rejects.written(at), "file": str(file), "bytes": len(content)}
            return saved, f"{len(content):,} bytes of {rejects.written(at)} written to {file}", 0
        found = rejects.listing(spark, settings.lake, chosen)
    finally:
        spark.stop()
    return {"rejected": found.total, "reasons": found.counts, "uploads": found.rows}, text(found), 0


def text(found: "Listing") -> str:
    """The listing for a person."""
    from jobs.cli.text_table import table

    if not found.total:
        return "no rejected uploads"
    rows = [
        [
            f"{row['topic']}/{row['partition']}/{row['offset']}", row["reason"], _cut(row["detail"]),
            row["device"], row["batch"], row["bytes"], f"{row['ingest_time']:%Y-%m-%d %H:%M:%S}",
        ]
        for row in found.rows
    ]  # fmt: skip
    columns = ["position", "reason", "detail", "device", "batch", "bytes", "ingested (UTC)"]
    shown = (
        f"the newest {len(rows):,} of {found.total:,}:" if len(rows) < found.total else f"{found.total:,}:"
    )
    return "\n".join(
        [table(["rejected for", "uploads"], found.counts.items()), "", shown, table(columns, rows)]
    )


def _cut(detail: str | None) -> str | None:
    return detail if detail is None or len(detail) <= _DETAIL else f"{detail[: _DETAIL - 1]}…"


def _target(name: str, overwrite: bool) -> Path:
    file = Path(name)
    if file.is_dir():
        raise UsageError(f"--save {name}: that is a folder; name a file")
    if not file.parent.is_dir():
        raise UsageError(f"--save {name}: there is no folder {file.parent}")
    if file.exists() and not overwrite:
        raise UsageError(f"--save {name}: the file is there; --overwrite replaces it")
    return file


def _write(file: Path, content: bytes, overwrite: bool) -> None:
    try:
        with file.open("wb" if overwrite else "xb") as target:
            target.write(content)
    except OSError as error:
        raise UsageError(f"--save {file}: {error.strerror}") from None


if __name__ == "__main__":
    run(main)
