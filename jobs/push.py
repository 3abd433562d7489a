"""`hub push`: send a folder, an archive or the digits to Kafka as phone uploads."""

from typing import TYPE_CHECKING

import click

from jobs.command import Command, Outcome, quiet, run
from streaming.orders import Order, batch_name

if TYPE_CHECKING:
    from conf.settings import Settings
    from streaming.producer import PushReport

HOSTILE = 60


@click.command(cls=Command, name="push", example="hub push digits --devices 25 --hostile 60")
@click.argument("source")
@click.option("--label-pattern", metavar="REGEX", help="Its group `label`, in the file name, is the label.")
@click.option("--devices", type=click.IntRange(min=1), default=25, help="Phones that send (25).")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Images a second at most.")
@click.option("--batch", help="Name of the upload batch; by default the source and the time.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Send the source so many times.")
@click.option(
    "--hostile", type=click.IntRange(min=0), is_flag=False, flag_value=HOSTILE, default=0,
    help=f"Mix in so many broken and hostile uploads ({HOSTILE} where no number is given).",
)  # fmt: skip
def main(
    source: str, label_pattern: str | None, devices: int, rate: float | None, batch: str | None,
    repeat: int, hostile: int,
) -> Outcome:  # fmt: skip
    """Send SOURCE (a folder, a zip, a tar, or the word digits) to Kafka as phone uploads.

    The label of a picture is the folder it lies in, or the group `label` of --label-pattern.
    """
    from conf import settings as configuration
    from local import broker

    settings = configuration.load()
    order = Order(source, batch or batch_name(source), label_pattern, devices, repeat, hostile)
    report = push(settings, broker.address(settings), order, rate)
    return results(order, report), summary(order, report), 1 if report.failed or report.interrupted else 0


def push(settings: "Settings", bootstrap: str, order: Order, rate: float | None = None) -> "PushReport":
    """Send what is ordered, with a progress bar."""
    from tqdm import tqdm

    from streaming import orders, producer

    records = orders.records(order, settings.push)
    with tqdm(unit=" images", desc="push", disable=quiet() or None, dynamic_ncols=True) as bar:

        def show(report: "PushReport") -> None:
            bar.update(report.acknowledged - bar.n)

        return producer.push(settings.kafka, settings.push, bootstrap, records, rate, show)


def results(order: Order, report: "PushReport") -> dict[str, object]:
    """The report as JSON."""
    return {
        "sent": report.sent,
        "acknowledged": report.acknowledged,
        "failed": report.failed,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "images_per_second": report.images_per_second,
        "batch": order.batch,
        "passed_over": dict(order.passed_over),
        "first_error": report.first_error,
    }


def summary(order: Order, report: "PushReport") -> str:
    """The report for a person."""
    lines = [
        f"batch {order.batch}: {report.sent:,} sent, {report.acknowledged:,} acknowledged, "
        f"{report.failed:,} failed; {report.bytes / 1e6:,.1f} MB in {report.seconds:.1f} s, "
        f"{report.images_per_second:,.0f} images/s"
    ]
    if order.passed_over:
        lines.append("passed over: " + ", ".join(f"{n:,} × {why}" for why, n in order.passed_over.items()))
    if report.first_error:
        lines.append(f"first failure: {report.first_error}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
