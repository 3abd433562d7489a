"""`hub duplicates`: list groups of near duplicates, and which copy is best."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobs.cli.command import Command, Outcome, run

if TYPE_CHECKING:
    from organize.duplicates.listing import Group, Listing

_RELATIONS = ("exact", "re-encoded", "resized", "cropped", "mirrored", "same scene")
_SHOWN_ID = 12  # digits of an image id in the text


@click.command(cls=Command, name="duplicates", example="hub duplicates --label cat --sheet duplicates.png")
@click.option("--label", help="Only groups with an image of this label.")
@click.option("--relation", type=click.Choice(_RELATIONS), help="Only groups with an image of this relation.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Groups to list.")
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Also draw their pictures.",
)
def main(label: str | None, relation: str | None, limit: int, sheet: Path | None) -> Outcome:
    """List groups of near duplicates: how the pictures relate, which copy is best, and why.

    Pictures are grouped by `hub organize --once` and `--follow`. The largest groups come first.
    """
    from conf import settings as configuration
    from jobs.cli.label_flags import parse_labels
    from organize.duplicates import listing
    from organize.duplicates.comparison.relation import Relation

    settings = configuration.load()
    slug = None if label is None else parse_labels(label, "omit it for all labels")[0]
    found = listing.list_groups(settings, limit, slug, Relation(relation) if relation else None)
    if sheet:
        from organize.duplicates import group_sheet

        group_sheet.write(sheet, settings, found)
    return results(found), summary(found, sheet), 0


def results(found: "Listing") -> dict[str, object]:
    """The groups for --json."""
    from dataclasses import asdict

    return {
        "groups": [
            {
                "group_id": group.group_id,
                "relation": group.relation,
                "images": [
                    {
                        "image_id": member.ranked.copy.image_id,
                        "rank": member.ranked.rank,
                        "why": member.ranked.why,
                        "label": member.label,
                        "relation": member.relation,
                        "matched_image": member.matched_image,
                    }
                    for member in group.members
                ],
            }
            for group in found.groups
        ],
        "total_groups": found.total,
        "total_images": found.images,
        "not_joined": found.cut,
        "calibration": asdict(found.calibration) if found.calibration else None,
    }


def summary(found: "Listing", sheet: Path | None) -> str:
    """The groups as text."""
    lines = [_group_text(group) for group in found.groups]
    shown = "" if len(found.groups) == found.total else f", the {len(found.groups)} largest are listed"
    lines.append(f"{found.size}{shown}")
    if found.cut:
        lines.append(f"{found.cut:,} pairs of near duplicates are not joined: their groups would be chains")
    lines.append(_calibration_text(found))
    if sheet:
        lines.append(f"pictures: {sheet}")
    return "\n".join(lines)


def _group_text(group: "Group") -> str:
    from jobs.cli.text_table import format_table

    counts = Counter(member.relation or "unknown" for member in group.members)
    relations = ", ".join(f"{count} {relation}" for relation, count in counts.most_common())
    title = f"{group.group_id}: {len(group.members)} images ({relations})"
    rows = [
        [m.ranked.rank, m.ranked.copy.image_id[:_SHOWN_ID], m.label, m.relation or "–", m.ranked.why]
        for m in group.members
    ]
    return f"{title}\n{format_table(['rank', 'image', 'label', 'relation', 'why'], rows)}\n"


def _calibration_text(found: "Listing") -> str:
    from organize.duplicates.calibration import LEAST_PAIRS

    calibration = found.calibration
    if calibration is None:
        return "no picture was grouped yet: run `hub organize --once`"
    if calibration.random_pairs < LEAST_PAIRS:
        return f"{calibration.images:,} images are too few for a calibration: the default threshold holds"
    return (
        f"calibrated on {calibration.random_pairs:,} random pairs of {calibration.images:,} images: "
        f"significance {calibration.sure:g} needed, {calibration.expected_false:.2g} false pairs expected"
    )


if __name__ == "__main__":
    run(main)
