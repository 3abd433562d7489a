"""`hub ingest`: verify, prepare and store what is in Kafka."""

import click

from jobs.command import Command, Outcome, run, say


@click.command(cls=Command, example="hub ingest --once")
@click.option("--once", is_flag=True, help="Take what is there now, then stop.")
def main(once: bool) -> Outcome:
    """Take uploads from Kafka into the tables; without --once until Ctrl-C."""
    from conf import settings as configuration
    from lake import session
    from local import broker
    from streaming.query import Ingestion, IngestReport

    settings = configuration.load()
    bootstrap = broker.address(settings)
    spark = session.start(settings, "ingest")
    report = IngestReport()
    try:
        ingestion = Ingestion(spark, settings, bootstrap)
        if once:
            report = ingestion.once()
        else:
            say(f"Taking uploads from {settings.kafka.topic} at {bootstrap}; Ctrl-C stops.")
            ingestion.forever(report)
    except KeyboardInterrupt:
        say("stopped; the next ingest goes on where this one ended")
    finally:
        spark.stop()
    return results(report), summary(report), 0


if __name__ == "__main__":
    run(main)
