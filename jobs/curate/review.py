"""`hub review`: write a page and a CSV of the most doubtful labels."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.command import Command, Outcome, run

if TYPE_CHECKING:
    from conf.settings import Settings
    from lake.storage import Storage

_KEYS = ("image_id", "label", "suggested_label", "label_quality", "reason", "group")
_LISTED = 10  # in the text


@click.command(cls=Command, name="review", example="hub review --label cat --to .")
@click.option("--label", help="Only pictures with this label. Default: all labels.")
@click.option("--limit", type=click.IntRange(1, 2000), help="Pictures. Default: checks.review_images.")
@click.option("--to", "target", help="Folder or s3:// prefix. Default: reports/ in the lake.")
def main(label: str | None, limit: int | None, target: str | None) -> Outcome:
    """Write a page and a CSV of the pictures whose label is doubted most.

    One picture of each group of near duplicates, spread over the labels. Decide on the page and save its
    file, or fill in the column `decision` of the CSV. Then `hub relabel FILE`.
    """
    from conf import settings as configuration
    from jobs.cli.label_flags import parse_labels
    from organize.review import doubtful
    from organize.review.ranking import most_doubtful
    from organize.wanted import overview
    from web.review import review_page

    settings = configuration.load()
    only = parse_labels(label, "omit it for all labels")[0] if label is not None else None
    candidates = doubtful.load(settings, only)
    chosen = most_doubtful(candidates, limit or settings.checks.review_images)
    pictures = doubtful.thumbnails(settings, [each.image_id for each in chosen])
    names = {name: counts.display_name for name, counts in overview.load(settings).items()}
    folder, name = _folder(settings, target), f"review-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder.write(f"{name}.html", review_page.render(chosen, pictures, names, len(candidates)).encode())
    folder.write(f"{name}.csv", review_page.to_csv(chosen).encode())
    page, file = f"{folder.root}/{name}.html", f"{folder.root}/{name}.csv"
    results = {
        "doubtful": [{key: asdict(each)[key] for key in _KEYS} for each in chosen],
        "waiting": len(candidates),
        "page": page,
        "csv": file,
    }
    return results, _text(results["doubtful"], len(candidates), page, file), 0  # type: ignore[arg-type]


def _text(chosen: list[dict[str, Any]], waiting: int, page: str, file: str) -> str:
    from jobs.cli.text_table import format_table

    if not chosen:
        return f"no label is doubted; `hub labels check` judges the labels of new uploads\npage  {page}"
    columns = ["image", "label", "suggested", "quality", "why"]
    rows = [
        [
            str(each["image_id"])[:12],
            each["label"],
            each["suggested_label"],
            None if (quality := each["label_quality"]) is None else round(float(quality), 3),
            each["reason"],
        ]
        for each in chosen[:_LISTED]
    ]
    shown = f"{len(chosen):,} of {waiting:,} doubtful pictures"
    more = f", the first {_LISTED}" if len(chosen) > _LISTED else ""
    return "\n".join([f"{shown}{more}:", format_table(columns, rows), f"page  {page}", f"csv   {file}"])


def _folder(settings: "Settings", target: str | None) -> "Storage":
    from lake.storage import Storage

    if target is None:
        return Storage(settings.lake.at("reports"), settings.s3)
    return Storage(target if "://" in target else str(Path(target).expanduser().absolute()), settings.s3)


if __name__ == "__main__":
    run(main)
