"""`hub push`: send a folder, an archive, a bucket or the digits to Kafka as phone uploads."""

from typing import TYPE_CHECKING

import click

from jobs.cli.command import Command, Outcome, quiet, run
from streaming.upload.push_request import PushRequest, batch_name

if TYPE_CHECKING:
    from conf.settings import Settings
    from streaming.upload.push_report import PushReport

HOSTILE = 60
_LABELS_SHOWN = 12


@click.command(cls=Command, name="push", example="hub push digits --devices 25 --hostile")
@click.argument("source")
@click.option("--label-pattern", metavar="REGEX", help="Its group `label`, in the file name, is the label.")
@click.option("--devices", type=click.IntRange(min=1), default=25, help="Phones that send (25).")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Images a second at most.")
@click.option("--batch", help="Name of the upload batch; by default the source and the time.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Send the source so many times.")
@click.option("--limit", type=click.IntRange(min=1), help="Send so many images at most.")
@click.option(
    "--hostile", type=click.IntRange(min=0), is_flag=False, flag_value=HOSTILE, default=0,
    help=f"Mix in so many broken and hostile uploads ({HOSTILE} where no number is given).",
)  # fmt: skip
def main(
    source: str, label_pattern: str | None, devices: int, rate: float | None, batch: str | None,
    repeat: int, limit: int | None, hostile: int,
) -> Outcome:  # fmt: skip
    """Send SOURCE to Kafka as phone uploads.

    SOURCE is a folder, a zip, a tar (plain, gz, bz2, xz), s3://bucket/prefix, one such archive in a bucket,
    or the word digits; a folder of that name is ./digits. The label of a picture is the folder it lies in, or
    the group `label` of --label-pattern.
    """
    from conf import settings as configuration
    from local import broker

    settings = configuration.load()
    name = batch_name(source) if batch is None else batch
    order = PushRequest(source, name, label_pattern, devices, repeat, hostile, limit)
    report = push(settings, broker.address(settings), order, rate)
    return results(order, report), summary(order, report), status(report)


def push(settings: "Settings", bootstrap: str, order: PushRequest, rate: float | None = None) -> "PushReport":
    """Send what is ordered, with a progress bar.

    Args:
        bootstrap: host:port[,host:port] of the cluster.
        rate: images a second at most.

    Returns:
        the counts; a Ctrl-C shows as `interrupted`, not as an exception.

    Raises:
        BadSource: there is nothing to send; raised before anything is.
        BrokerUnreachable: no broker answers at the address.
    """
    from tqdm import tqdm

    from streaming.upload import producer, push_request

    records = push_request.records(order, settings)
    with tqdm(unit=" images", desc="push", disable=quiet() or None, dynamic_ncols=True) as bar:

        def show(report: "PushReport") -> None:
            bar.update(report.acknowledged - bar.n)

        return producer.push(settings.kafka, settings.push, bootstrap, records, rate, show)


def status(report: "PushReport") -> int:
    """Exit status: 130 after Ctrl-C, 1 where anything was not acknowledged."""
    if report.interrupted:
        return 130
    return 1 if report.failed or report.gave_up else 0


def results(order: PushRequest, report: "PushReport") -> dict[str, object]:
    """The report as JSON."""
    return {
        "sent": report.sent,
        "acknowledged": report.acknowledged,
        "failed": report.failed,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "images_per_second": report.images_per_second,
        "batch": order.batch,
        "labels": dict(order.labels),
        "hostile": dict(order.expected),
        "by_reference": order.referenced["uploads"],
        "by_reference_bytes": order.referenced["bytes"],
        "skipped": dict(order.skipped.counts),
        "skipped_names": dict(order.skipped.names),
        "first_error": report.first_error,
        "interrupted": report.interrupted,
        "gave_up": report.gave_up,
    }


def summary(order: PushRequest, report: "PushReport") -> str:
    """The report for a person."""
    lines = [
        f"batch {order.batch}: {report.sent:,} sent, {report.acknowledged:,} acknowledged, "
        f"{report.failed:,} failed; {report.bytes / 1e6:,.1f} MB in {report.seconds:.1f} s, "
        f"{report.images_per_second:,.0f} images/s"
    ]
    if order.labels:
        shown = ", ".join(f"{label} {count:,}" for label, count in order.labels.most_common(_LABELS_SHOWN))
        lines.append(f"labels: {shown}" + (", …" if len(order.labels) > _LABELS_SHOWN else ""))
    if order.expected:
        lines.append(
            f"{order.expected.total():,} of them broken or hostile, of {len(order.expected)} kinds: "
            "ingestion will reject them"
        )
    if order.referenced:
        lines.append(
            f"{order.referenced['uploads']:,} of them by reference: "
            f"{order.referenced['bytes'] / 1e6:,.1f} MB went to the object store"
        )
    if order.skipped.counts:
        lines.append(f"not sent: {order.skipped}")
    if report.first_error:
        lines.append(f"first failure: {report.first_error}")
    if report.interrupted or report.gave_up:
        why = "interrupted" if report.interrupted else "the cluster was away for too long"
        lines.append(f"{why}: the rest of the source was not sent")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
