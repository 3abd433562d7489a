"""`hub push`: send a folder, an archive, a bucket or the digits to Kafka as phone uploads."""

from typing import TYPE_CHECKING, Any

import click

from jobs.cli.command import Command, Outcome, quiet, run, say
from jobs.cli.label_flags import label_options
from streaming.upload.push_request import PushRequest, batch_name

if TYPE_CHECKING:
    from conf.settings import Settings
    from streaming.sources.items import Skipped
    from streaming.sources.labels.survey import LabelSurvey
    from streaming.upload.push_report import PushReport

HOSTILE = 60
_LABELS_SHOWN = 12


@click.command(cls=Command, name="push", example="hub push digits --devices 25 --hostile")
@click.argument("source")
@label_options
@click.option("--devices", type=click.IntRange(min=1), default=25, help="Number of simulated phones (25).")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Maximum images per second.")
@click.option("--batch", help="Name of the upload batch. Default: source and time.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Number of times the source is sent.")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of images.")
@click.option(
    "--hostile", type=click.IntRange(min=0), is_flag=False, flag_value=HOSTILE, default=0,
    help=f"Number of broken and hostile uploads to mix in ({HOSTILE} if no number is given).",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show labels, counts and what is left out; send nothing.")
def main(source: str, rate: float | None, batch: str | None, dry_run: bool, **options: Any) -> Outcome:
    """Send SOURCE to Kafka as phone uploads.

    SOURCE is a folder, a zip, a tar (plain, gz, bz2, xz), s3://bucket/prefix, such an archive in a bucket,
    or the word digits (a folder of that name is ./digits). The label of a picture is its folder, unless a
    flag says otherwise. Nothing is sent (status 2) if there is a name that cannot be a label.
    """
    from conf import settings as configuration
    from local import broker

    settings = configuration.load()
    name = batch_name(source) if batch is None else batch
    request = PushRequest(source, name, **options)
    if dry_run:
        return _dry_run(settings, request)
    report = push(settings, broker.address(settings), request, rate)
    return results(request, report), summary(request, report), exit_status(report)


def push(
    settings: "Settings", bootstrap: str, request: PushRequest, rate: float | None = None
) -> "PushReport":
    """Send the uploads of a request, with a progress bar.

    Args:
        bootstrap: host:port[,host:port] of the cluster.
        rate: maximum images per second.

    Returns:
        the counts; after Ctrl-C `interrupted` is set, there is no exception.

    Raises:
        BadSource: there is nothing to send; raised before the first upload.
        BrokerUnreachable: no broker answers at the address.
    """
    from tqdm import tqdm

    from streaming.upload import producer, push_request

    with tqdm(
        unit=" names", desc="labels", disable=quiet() or None, dynamic_ncols=True, leave=False
    ) as names:
        records = push_request.records(request, settings, names.update)
    for note in () if quiet() else request.notes:
        say(f"note: {note}")
    with tqdm(unit=" images", desc="push", disable=quiet() or None, dynamic_ncols=True) as bar:

        def show(report: "PushReport") -> None:
            bar.update(report.acknowledged - bar.n)

        return producer.push(settings.kafka, settings.push, bootstrap, records, rate, show)


def exit_status(report: "PushReport") -> int:
    """130 after Ctrl-C, 1 if an upload was not acknowledged, else 0."""
    if report.interrupted:
        return 130
    return 1 if report.failed or report.gave_up else 0


def results(request: PushRequest, report: "PushReport") -> dict[str, object]:
    """The report for --json."""
    return {
        "sent": report.sent,
        "acknowledged": report.acknowledged,
        "failed": report.failed,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "images_per_second": report.images_per_second,
        "batch": request.batch,
        "labels": dict(request.labels),
        "hostile": dict(request.expected),
        "by_reference": request.referenced["uploads"],
        "by_reference_bytes": request.referenced["bytes"],
        "notes": request.notes,
        "skipped": dict(request.skipped.counts),
        "skipped_names": dict(request.skipped.names),
        "first_error": report.first_error,
        "interrupted": report.interrupted,
        "gave_up": report.gave_up,
    }


def summary(request: PushRequest, report: "PushReport") -> str:
    """The report as text."""
    lines = [
        f"batch {request.batch}: {report.sent:,} sent, {report.acknowledged:,} acknowledged, "
        f"{report.failed:,} failed; {report.bytes / 1e6:,.1f} MB in {report.seconds:.1f} s, "
        f"{report.images_per_second:,.0f} images/s"
    ]
    if request.labels:
        shown = ", ".join(f"{label} {count:,}" for label, count in request.labels.most_common(_LABELS_SHOWN))
        lines.append(f"labels: {shown}" + (", …" if len(request.labels) > _LABELS_SHOWN else ""))
    if request.expected:
        lines.append(
            f"{request.expected.total():,} of them broken or hostile, of {len(request.expected)} kinds: "
            "ingestion will reject them"
        )
    if request.referenced:
        lines.append(
            f"{request.referenced['uploads']:,} of them by reference: "
            f"{request.referenced['bytes'] / 1e6:,.1f} MB went to the object store"
        )
    if request.skipped.counts:
        lines.append(not_sent(request.skipped))
    if report.first_error:
        lines.append(f"first failure: {report.first_error}")
    if report.interrupted or report.gave_up:
        why = "interrupted" if report.interrupted else "the Kafka cluster was unreachable for too long"
        lines.append(f"{why}: the rest of the source was not sent")
    return "\n".join(lines)


def not_sent(skipped: "Skipped") -> str:
    """The skipped files as one line, with what sends them."""
    from streaming.sources.folder_walk import OUTSIDE

    hint = "; --follow-links sends what links lead to" if skipped.counts[OUTSIDE] else ""
    return f"not sent: {skipped}{hint}"


def _dry_run(settings: "Settings", request: PushRequest) -> Outcome:
    """The table of labels; status 2 if a push of the source would be refused."""
    from tqdm import tqdm

    from streaming.upload import push_request

    with tqdm(unit=" images", desc="read", disable=quiet() or None, dynamic_ncols=True, leave=False) as bar:
        survey = push_request.dry_run(request, settings, bar.update)
    problem, slugs = survey.problem(), survey.slugs()
    results = {
        "dry_run": True,
        "sent": 0,
        "would_send": 0 if problem else survey.labels.total() * request.repeat,
        "labels": dict(survey.labels),
        "slugs": {name: slug for slug, names in slugs.items() for name in names},
        "unusable": survey.problems,
        "problem": problem,
        "notes": survey.notes(),
        "skipped": dict(survey.skipped.counts),
        "skipped_names": dict(survey.skipped.names),
    }
    return results, _dry_run_summary(survey, request.repeat), 2 if problem else 0


def _dry_run_summary(survey: "LabelSurvey", repeat: int) -> str:
    from jobs.cli.text_table import format_table

    rows = [
        [slug, sum(survey.labels[name] for name in names), ", ".join(names)]
        for slug, names in survey.slugs().items()
    ]
    rows += [["cannot be a label", survey.labels[name], name] for name in survey.problems]
    total = survey.labels.total()
    lines = [format_table(["label", "images", "written as"], [*rows, ["all", total, ""]])]
    if survey.skipped.counts:
        lines.append(not_sent(survey.skipped))
    lines += [f"note: {note}" for note in survey.notes()]
    problem = survey.problem()
    lines.append(problem or f"nothing was sent (--dry-run); {total * repeat:,} images would be")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
