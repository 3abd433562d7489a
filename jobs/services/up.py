"""Start the embedded Kafka broker and make the topics."""

import click

from jobs.cli.command import Command, Outcome, run, say


@click.command(cls=Command, name="up", example="hub up")
def main() -> Outcome:
    """Start the embedded Kafka broker and make the topics.

    The broker stays until `hub down`. With HUB__KAFKA__BOOTSTRAP set nothing is started: the topics are made
    on that cluster.
    """
    from conf import settings as conf
    from local import broker
    from streaming import topics

    settings = conf.load()
    external = settings.kafka.bootstrap
    results: dict[str, object] = {"broker": "external" if external else "embedded"}
    if external:
        bootstrap, note = external, "an external cluster; nothing was started"
    else:
        say("Starting the broker …")
        state = broker.up(settings)
        bootstrap = state.bootstrap
        results |= {"pid": state.pid, "started": state.started, "stays": not state.leashed}
        note = "stop it with `hub down`"
        if state.leashed:
            note = "it belongs to a command that runs now and stops with it"
    made = topics.create(settings.kafka, bootstrap)
    guarded = topics.guard(settings.kafka, bootstrap)
    results |= {"bootstrap": bootstrap, "topics_made": made, "topics_guarded": guarded}
    told = f"Kafka is up at {bootstrap} ({note}). Topics made: {', '.join(made) or 'none, all there'}."
    if guarded:
        given = ", ".join(f"{key}={value}" for key, value in topics.GUARDS.items())
        told += f"\nGiven to {', '.join(guarded)}: {given}."
    return results, told, 0


if __name__ == "__main__":
    run(main)
