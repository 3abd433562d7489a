"""`hub report`: write the HTML report of a batch or of a model."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, quiet, run

if TYPE_CHECKING:
    from conf.settings import Settings
    from lake.storage import Storage
    from web.report.report import Report

STANDARD_OUTPUT = "-"


@click.command(cls=Command, name="report", example="hub report digits-20261121-081240 --to .")
@click.argument("subject", metavar="BATCH|MODEL")
@click.option("--to", "target", help="Folder, s3:// prefix, or - for standard output. Default: in the lake.")
def main(subject: str, target: str | None) -> Outcome:
    """Write the HTML report of a batch, with its dataset and newest model, or of a model.

    The page contains its pictures and needs no other file. The default folder is reports/ in the lake.
    """
    from conf import settings as configuration
    from lake.spark import session
    from web.report import report

    if target == STANDARD_OUTPUT and quiet():
        raise UsageError("--to - prints the page, so it cannot be used with --json")
    settings = configuration.load()
    spark = session.start(settings, "report")
    try:
        found = report.load(spark, settings, subject)
    finally:
        session.stop(spark)
    if target == STANDARD_OUTPUT:
        return _results(found, STANDARD_OUTPUT), report.render(found), 0
    path = report.write(found, _folder(settings, target))
    return _results(found, path), f"report   {path}", 0


def _results(report: "Report", path: str) -> dict[str, object]:
    return {
        "report": path,
        "batch": report.uploads.batch if report.uploads else None,
        "dataset_id": report.dataset.dataset_id if report.dataset else None,
        "model_id": report.training.model_id if report.training else None,
    }


def _folder(settings: "Settings", target: str | None) -> "Storage":
    """The storage of a given target, whose path starts at the current folder, or of the lake's reports."""
    from lake.storage import Storage
    from web.report import report

    if target is None:
        return report.default_folder(settings)
    return Storage(target if "://" in target else str(Path(target).expanduser().absolute()), settings.s3)


if __name__ == "__main__":
    run(main)
