"""`hub down`: stop the embedded Kafka broker."""

import click

from jobs.cli.command import Command, Outcome, run


@click.command(cls=Command, name="down", example="hub down")
def main() -> Outcome:
    """Stop the embedded Kafka broker; its records are kept for the next start."""
    from conf import settings as conf
    from local import broker

    settings = conf.load()
    pid = broker.down(settings)
    results = {"stopped": pid is not None, "pid": pid, "external": settings.kafka.bootstrap or None}
    text = "No embedded broker was running." if pid is None else f"Stopped the broker of process {pid}."
    if settings.kafka.bootstrap:
        text += f" The external cluster at {settings.kafka.bootstrap} was not stopped."
    return results, text, 0


if __name__ == "__main__":
    run(main)
