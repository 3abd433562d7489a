"""`hub review`: a self-contained page and a CSV of the most doubtful labels."""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from organize.review import decision_file
from organize.review.ranking import Doubtful

COLUMNS = (
    decision_file.IMAGE, decision_file.LABEL, decision_file.SUGGESTED, "label_quality", "reason",
    decision_file.DECISION,
)  # fmt: skip


def render(
    doubtful: Sequence[Doubtful],
    pictures: Mapping[str, bytes],
    names: Mapping[str, str],
    waiting: int,
    made: datetime | None = None,
) -> str:
    """Render the page as HTML. Its script makes the CSV that `hub relabel` reads, and sends nothing.

    Args:
        doubtful: samples to decide about, most doubtful first.
        pictures: image id to JPEG.
        names: label to display name.
        waiting: number of all doubtful samples.
        made: time on the page; now if None.
    """
    environment = Environment(
        loader=PackageLoader("web.review"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = made or datetime.now(UTC)
    return environment.get_template("review.html").render(
        doubtful=doubtful,
        pictures={image_id: base64.b64encode(jpeg).decode() for image_id, jpeg in pictures.items()},
        names=names,
        labels=sorted(names),
        waiting=waiting,
        made=shown.strftime("%Y-%m-%d %H:%M UTC"),
    )


def to_csv(doubtful: Sequence[Doubtful]) -> str:
    """The samples as CSV with an empty column `decision`, as `hub relabel` reads it."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in doubtful:
        quality = "" if each.label_quality is None else f"{each.label_quality:.4f}"
        writer.writerow([each.image_id, each.label, each.suggested_label or "", quality, each.reason, ""])
    return file.getvalue()
