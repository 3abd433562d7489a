"""Base of all commands: --json, --debug, one-line errors and exit statuses."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import click

from conf import process_environment
from conf.errors import HubError
from jobs.cli.termination import like_interrupt
from streaming.sources.items import encodable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class Command(click.Command):
    """A click command with --json, --debug, and an example in its help."""

    def __init__(self, *args: Any, example: str = "", **attributes: Any) -> None:
        attributes.setdefault("epilog", f"\b\nExample:\n  {example}")
        super().__init__(*args, **attributes)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object and nothing else."),
            click.Option(["--debug"], is_flag=True, help="Show a stack trace when something fails."),
        ]

    def invoke(self, ctx: click.Context) -> None:
        """Run the callback and print its outcome: the results as JSON, or the text."""
        as_json, debug = ctx.params.pop("as_json"), ctx.params.pop("debug")
        ctx.obj = {"json": as_json, "debug": debug}
        with nullcontext() if debug else _silent_libraries():
            logging.basicConfig(level=logging.WARNING if debug else logging.CRITICAL, stream=sys.stderr)
            outcome = super().invoke(ctx)
        results, text, status = outcome if isinstance(outcome, tuple) else (outcome, "", 0)
        if as_json:
            click.echo(encodable(json.dumps(results, default=str, ensure_ascii=False)))
        elif text:
            click.echo(encodable(text))
        ctx.exit(status)


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Let no library write to standard error while the block runs.

    They would log the same failure that the one-line error reports, some at every retry, and PySpark at all
    levels: it logs a statement's error with its Java stack.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class Group(click.Group):
    """A group of subcommands; without the name of one, the first runs."""

    def __init__(self, *args: Any, example: str = "", **attributes: Any) -> None:
        attributes.setdefault("epilog", f"\b\nExample:\n  {example}")
        super().__init__(*args, **attributes)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the first subcommand's name if there is none before the flags."""
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Subcommands in the order of their definition."""
        return list(self.commands)


# What a command returns: results for --json, the text otherwise printed, the exit status.
Outcome = tuple[Mapping[str, object] | list[dict[str, object]], str, int]


def quiet() -> bool:
    """Whether the running command has --json, so that only JSON may be printed on standard output."""
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.obj and ctx.obj["json"])


def say(text: str) -> None:
    """Print a progress message: on standard output, or on standard error with --json."""
    click.echo(encodable(text), err=quiet())


def run(command: click.Command, arguments: list[str] | None = None) -> None:
    """Run a command and exit with its status: 0, 1 for a failure, 2 for wrong usage, 143 after SIGTERM.

    An error is one line on standard error; --debug shows the stack trace.
    """
    process_environment.apply()
    arguments = sys.argv[1:] if arguments is None else arguments
    program, shown = "hub", "hub"
    if isinstance(command, click.Group):
        shown += "".join(
            f" {name}" for name in arguments[:1] if name in command.list_commands(click.Context(command))
        )
    else:
        program = shown = f"hub {command.name}"
    with like_interrupt() as termination:
        status = _status(
            lambda: command.main(arguments, prog_name=program, standalone_mode=False), shown, arguments
        )
    # Flush now: threads of Spark and Kafka may still run, and must not affect the exit status.
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    sys.exit(termination.status or status)


def _status(call: Callable[[], object], name: str, arguments: list[str]) -> int:
    try:
        result = call()
        return result if isinstance(result, int) else 0
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: interrupted", err=True)
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        message, status = f"{error.format_message()} See `{name} --help`.", 2
    except HubError as error:
        if "--debug" in arguments:
            raise
        message, status = str(error), error.exit_status
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if "--debug" in arguments or isinstance(error, SystemExit | GeneratorExit):
            raise
        lines = str(error).strip().splitlines() or ["no message"]
        message, status = f"unexpected {type(error).__name__}: {lines[0]} (--debug shows the trace)", 1
    click.echo(f"{name}: error: {' '.join(message.split())}", err=True)
    return status
