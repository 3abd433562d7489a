"""`hub up`: start the embedded Kafka broker and create the topics."""

import click

from jobs.cli.command import Command, Outcome, run, say


@click.command(cls=Command, name="up", example="hub up")
def main() -> Outcome:
    """Start the embedded Kafka broker and create the topics.

    The broker runs until `hub down`. With HUB__KAFKA__BOOTSTRAP set no broker is started: the topics are
    created on that cluster.
    """
    from conf import settings as conf
    from local import broker
    from streaming import topics

    settings = conf.load()
    external = settings.kafka.bootstrap
    results: dict[str, object] = {"broker": "external" if external else "embedded"}
    if external:
        bootstrap, note = external, "an external cluster; no broker was started"
    else:
        say("Starting the broker …")
        state = broker.up(settings)
        bootstrap = state.bootstrap
        results |= {"pid": state.pid, "started": state.started, "stays": not state.leashed}
        note = "stop it with `hub down`"
        if state.leashed:
            note = "it was started by a running command and stops with it"
    made = topics.create(settings.kafka, bootstrap)
    guarded = topics.enforce_settings(settings.kafka, bootstrap)
    results |= {"bootstrap": bootstrap, "topics_made": made, "topics_guarded": guarded}
    text = f"Kafka is up at {bootstrap} ({note}). Topics created: {', '.join(made) or 'none, all exist'}."
    if guarded:
        configs = ", ".join(f"{key}={value}" for key, value in topics.REQUIRED_CONFIG.items())
        text += f"\nSet on {', '.join(guarded)}: {configs}."
    return results, text, 0


if __name__ == "__main__":
    run(main)
