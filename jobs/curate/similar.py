"""`hub similar`: list the pictures that are most similar to a picture, and draw them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run, say

if TYPE_CHECKING:
    from organize.similar import Match


@click.command(cls=Command, name="similar", example="hub similar photo.jpg --k 20 --sheet similar.png")
@click.argument("image")
@click.option("--k", "count", type=click.IntRange(1, 500), default=20, help="Number of matches (20).")
@click.option(
    "--sheet", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Draw them into a PNG."
)
def main(image: str, count: int, sheet: Path | None) -> Outcome:
    """List the images of the lake that are most similar to IMAGE: a picture file, or an image id.

    The first 8 digits of an id are enough. Similarity is the cosine of two embeddings: 1 is the same picture.
    `hub organize --once` embeds new samples.
    """
    from conf import settings as configuration
    from organize import similar

    settings = configuration.load()
    query, matches = similar.find_similar(settings, image, count, say)
    drawn = None
    if sheet is not None:
        drawn = str(sheet.expanduser().absolute())
        _write(Path(drawn), similar.sheet(settings, query, matches))
    results = {"image": image, "matches": [asdict(match) for match in matches], "sheet": drawn}
    return results, _text(matches, drawn), 0


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"--sheet: cannot write {path}: {error.strerror}") from None


def _text(matches: list["Match"], sheet: str | None) -> str:
    from jobs.cli.text_table import format_table

    if not matches:
        return "no other image has an embedding"
    rows = [[match.image_id, match.label, f"{match.similarity:.3f}"] for match in matches]
    lines = [format_table(["image", "label", "similarity"], rows)]
    return "\n".join(lines + ([f"sheet  {sheet}"] if sheet else []))


if __name__ == "__main__":
    run(main)
