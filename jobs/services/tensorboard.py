"""`hub tensorboard`: show the logs of training runs in TensorBoard."""

import importlib.util
import logging
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conf import settings as configuration
from conf.process_environment import bypass_proxy
from jobs.cli.command import Command, Outcome, run, say

if TYPE_CHECKING:
    from conf.settings import Settings


@click.command(
    cls=Command, name="tensorboard", example="hub tensorboard --model resnet20-20261121-0812-3fa9c07e"
)
@click.option("--model", "model_id", help="Only this model's logs. Default: those of all models.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option(
    "--host",
    default="127.0.0.1",
    help="Address to listen on; 0.0.0.0 in a container. Default: this machine only.",
)
def main(model_id: str | None, port: int, host: str) -> Outcome:
    """Serve the logs of training runs with TensorBoard until Ctrl-C.

    It has no login, so an address that others reach shows them the logs. Logs of a lake on S3 are downloaded
    once, at the start.
    """
    from conf.errors import HubError

    if importlib.util.find_spec("tensorboard") is None:
        raise HubError("TensorBoard is not installed: `pip install tensorboard`")
    settings = configuration.load()
    with tempfile.TemporaryDirectory() as copies:
        url = _launch(_log_folder(settings, model_id, Path(copies)), port, host)
        say(f"TensorBoard is at {url} (Ctrl-C stops it)")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return {"url": url}, "", 0


def _log_folder(settings: "Settings", model_id: str | None, copies: Path) -> str:
    """The folder for TensorBoard to read.

    Args:
        copies: folder for logs downloaded from S3.

    Raises:
        UnknownModel: no model has this id.
        HubError: there are no logs.
    """
    from conf.errors import HubError
    from models.registry import model_cards

    chosen = [model_cards.any_card(settings, model_id)] if model_id else model_cards.all_cards(settings)
    folders = [
        model_cards.artifact_storage(settings, card.model_id).subfolder("tensorboard") for card in chosen
    ]
    with_logs = [folder for folder in folders if folder.list_files()]
    if not with_logs:
        raise HubError(f"no logs of {model_id or 'any model'}: `hub train` writes them after each epoch")
    if not settings.lake.root.startswith("s3a://"):
        return with_logs[0].root if model_id else settings.lake.at("artifacts")
    for folder in with_logs:
        folder.download(copies / folder.root.split("/")[-2])
    return str(copies)


def _launch(logs: str, port: int, host: str) -> str:
    """Start the server in a thread and return its URL.

    Raises:
        HubError: the port is in use.
    """
    from tensorboard import program

    from conf.errors import HubError

    bypass_proxy("localhost", "127.0.0.1")  # between TensorBoard's own processes
    for noisy in ("tensorflow", "tensorboard", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    board = program.TensorBoard()
    board.configure(argv=["tensorboard", "--logdir", logs, "--host", host, "--port", str(port)])
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise HubError(f"TensorBoard cannot start: {' '.join(str(error).split())}") from None


if __name__ == "__main__":
    run(main)
