"""The `hub` command: imports the module of a subcommand and runs it."""

import importlib

import click

from conf.process_environment import restart_in_utf8
from jobs.cli import command

COMMANDS = {
    "up": "Start the embedded Kafka broker and create the topics.",
    "down": "Stop the embedded Kafka broker.",
    "status": "Show the broker, topics and tables.",
    "push": "Send a folder, an archive or the digits to Kafka as phone uploads.",
    "ingest": "Verify, prepare and store the uploads in Kafka.",
    "rejects": "List rejected uploads, or save one.",
    "replay": "Send rejected uploads again.",
    "erase": "Erase a user's uploads, pixels and samples.",
    "similar": "List the pictures that are most similar to a picture.",
    "organize": "Group near duplicates, split, and write a dataset snapshot.",
    "datasets": "List, show, compare, verify, delete or export datasets.",
    "duplicates": "List near duplicates, and which copy is best.",
    "clusters": "List clusters of similar pictures, and draw them.",
    "labels": "List, watch and check labels.",
    "review": "Write a page of the most doubtful labels.",
    "relabel": "Take people's decisions about labels, or undo them.",
    "train": "Train a ResNet on a dataset, distributed.",
    "evaluate": "Evaluate a model on its dataset's test split.",
    "models": "List, show, compare, export, use or retire models.",
    "predict": "Label pictures with a model.",
    "tensorboard": "Open the logs of training runs in a browser.",
    "sql": "Query the tables with Spark SQL.",
    "report": "Write the HTML report of a batch or a model.",
    "serve": "Serve the pages and the HTTP API.",
    "users": "List, add or remove accounts of people.",
    "keys": "List, add or revoke API keys of devices.",
    "demo": "Run the whole pipeline, from push to report.",
}

# Commands whose module has another name or folder; jobs/models.py would hide the package from spark-submit.
MODULES = {
    "up": "services.up",
    "down": "services.down",
    "status": "services.status",
    "tensorboard": "services.tensorboard",
    "serve": "services.serve",
    "users": "services.users",
    "keys": "services.keys",
    "datasets": "dataset_catalogue",
    "clusters": "curate.clusters",
    "labels": "curate.labels",
    "review": "curate.review",
    "relabel": "curate.relabel",
    "models": "model_registry",
    "similar": "curate.similar",
}


class _LazyGroup(click.Group):
    """Imports a command's module only when called, so `hub --help` loads neither Spark nor TensorFlow."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        subcommand = importlib.import_module(f"jobs.{MODULES.get(cmd_name, cmd_name)}").main
        assert isinstance(subcommand, click.Command)
        return subcommand

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, name="hub", epilog="\b\nExample:\n  hub demo")
@click.version_option(package_name="deep-images-hub", prog_name="hub")
def hub() -> None:
    """Labelled phone pictures: from a Kafka stream to Delta datasets to distributed ResNets."""


def main() -> None:
    """Entry point of the console script."""
    restart_in_utf8()
    command.run(hub)


if __name__ == "__main__":
    main()
