"""`hub clusters`: list clusters of similar pictures, form them anew, and draw them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run

if TYPE_CHECKING:
    from conf.settings import Settings

_COLUMNS = ("cluster", "label", "model_id", "size", "radius", "common_label", "common_share", "created")


@click.command(cls=Command, name="clusters", example="hub clusters --label cat --sheet sheets")
@click.option("--label", help="Only clusters of this label; `all` for those of all labels together.")
@click.option(
    "--sheet", metavar="DIR", type=click.Path(path_type=Path), help="Draw each cluster into a folder."
)
@click.option("--form", is_flag=True, help="Form the clusters anew first; ids stay where clusters stay.")
def main(label: str | None, sheet: Path | None, form: bool) -> Outcome:
    """List the clusters of each label and of all labels, with their size and outliers.

    `hub organize --once` forms them, and gives each new picture the nearest one. Only --form needs Spark.
    """
    from conf import settings as configuration

    settings = configuration.load()
    if form:
        _form(settings)
    rows = _rows(settings, label)
    if sheet is not None:
        _draw(settings, rows, sheet)
    results = {"clusters": rows, "sheets": str(sheet.absolute()) if sheet is not None else None}
    return results, _text(rows, sheet), 0


def _form(settings: "Settings") -> None:
    from functools import partial

    from lake.locks import organize_lock
    from lake.spark import session
    from organize.clusters.formation import form
    from organize.features.embedder import embedder_of

    model_id = embedder_of(settings).model_id
    spark = session.start(settings, "clusters")
    try:
        form(spark, settings, model_id, partial(organize_lock.held, settings, "clusters"))
    finally:
        session.stop(spark)


def _rows(settings: "Settings", label: str | None) -> list[dict[str, Any]]:
    from jobs.cli.label_flags import parse_labels
    from lake import row_writer
    from lake.table import Table
    from organize.clusters.matching import EVERYTHING

    clusters = row_writer.read(settings, Table.CLUSTERS, _COLUMNS)
    if not clusters:
        raise UsageError("there are no clusters yet: run `hub organize --once`, or `hub clusters --form`")
    if label is not None:
        slug = parse_labels(label, "omit it for all clusters")[0]
        wanted = None if slug == EVERYTHING else slug
        known = sorted({each["label"] or EVERYTHING for each in clusters})
        clusters = [each for each in clusters if each["label"] == wanted]
        if not clusters:
            raise UsageError(f"--label {label!r} has no clusters; there are those of {', '.join(known[:20])}")
    outliers: dict[str, int] = {}
    for column, outlier in (("cluster", "outlier"), ("overall_cluster", "overall_outlier")):
        statement = f"SELECT {column} AS cluster, count(*) AS n FROM rows WHERE {outlier} GROUP BY {column}"
        counted = row_writer.query(settings, Table.SAMPLES, statement, [outlier])
        outliers |= {row["cluster"]: row["n"] for row in counted}
    ordered = sorted(clusters, key=lambda each: (each["label"] or "", -each["size"], each["cluster"]))
    return [each | {"outliers": outliers.get(each["cluster"], 0)} for each in ordered]


def _draw(settings: "Settings", clusters: list[dict[str, Any]], folder: Path) -> None:
    from lake.storage import Storage
    from organize.clusters import contact_sheet
    from organize.review.doubtful import thumbnails

    storage = Storage(str(folder.expanduser().absolute()), settings.s3)
    for cluster in clusters:
        shown = contact_sheet.members(settings, cluster["cluster"])
        pictures = thumbnails(settings, [each.image_id for each in shown])
        title = f"{cluster['cluster']}: {cluster['size']:,} images"
        sheet = contact_sheet.draw(title, [(each, pictures.get(each.image_id)) for each in shown])
        storage.write(f"{cluster['cluster']}.png", sheet)


def _text(rows: list[dict[str, Any]], sheet: Path | None) -> str:
    from jobs.cli.text_table import format_table

    columns = ["label", "cluster", "images", "outliers", "radius", "most frequent label"]
    shown = [
        [
            row["label"] or "(all)",
            row["cluster"],
            row["size"],
            row["outliers"],
            row["radius"],
            f"{row['common_label']} {row['common_share']:.0%}" if row["label"] is None else "",
        ]
        for row in rows
    ]
    lines = [format_table(columns, shown)]
    return "\n".join(lines + ([f"sheets  {sheet.absolute()}"] if sheet is not None else []))


if __name__ == "__main__":
    run(main)
