"""All commands: help, one-line errors, exit statuses, --json."""

import json
import logging
import os
import re
import sys
import warnings

import click
import pytest

from conf.errors import HubError, UsageError
from conf.settings import Settings
from jobs.cli.command import Command, Outcome, run
from jobs.hub import COMMANDS
from jobs.hub import hub as hub_group
from lake.spark import session
from tests.support.commands import Hub


class PanicException(BaseException):
    """As libraries in Rust raise it."""


@click.command(cls=Command, name="try", example="hub try ok")
@click.argument("how")
def attempt(how: str) -> Outcome:
    """Succeed or fail, as the argument says."""
    if how == "usage":
        raise UsageError("--workers 0: give 1 or more")
    if how == "failure":
        raise HubError("no such thing\nas 'this': make it")
    if how == "bug":
        raise ZeroDivisionError("division by zero")
    if how == "panic":
        raise PanicException("index out of bounds\nnote: run with RUST_BACKTRACE=1")
    if how == "interrupt":
        raise KeyboardInterrupt
    return {"how": how}, f"It went {how}.", 3 if how == "badly" else 0


def _status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        run(attempt, list(arguments))
    assert isinstance(left.value.code, int)
    return left.value.code


def test_text_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("well") == 0
    assert capsys.readouterr() == ("It went well.\n", "")


def test_json_is_one_object_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("badly", "--json") == 3
    assert json.loads(capsys.readouterr().out) == {"how": "badly"}


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_file_name_that_is_not_utf8_can_be_printed(
    flag: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(os.fsdecode(b"k\xe4fer.jpg"), *flag) == 0
    assert "k\N{REPLACEMENT CHARACTER}fer.jpg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("how", "status", "line"),
    [
        ("usage", 2, "hub try: error: --workers 0: give 1 or more\n"),
        ("failure", 1, "hub try: error: no such thing as 'this': make it\n"),
        (
            "bug",
            1,
            "hub try: error: unexpected ZeroDivisionError: division by zero (--debug shows the trace)\n",
        ),
        (
            "panic",
            1,
            "hub try: error: unexpected PanicException: index out of bounds (--debug shows the trace)\n",
        ),
        ("interrupt", 130, "\nhub try: interrupted\n"),  # the terminal shows ^C before it
    ],
)
def test_failure_is_one_line_on_standard_error(
    capsys: pytest.CaptureFixture[str], how: str, status: int, line: str
) -> None:
    assert _status(how) == status
    assert capsys.readouterr() == ("", line)


def test_unknown_option_is_one_line_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("--nope") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--nope" in error
    assert "hub try --help" in error


@pytest.mark.parametrize("how", ["well", "failure"])
def test_libraries_write_nothing_to_standard_error(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command(cls=Command, name="noisy")
    def noisy() -> Outcome:
        logger = logging.getLogger("a-library")
        logger.addHandler(logging.StreamHandler(sys.stderr))  # as PySpark's loggers have their own
        logger.critical("a Java stack")
        warnings.warn("a wrong use of something", stacklevel=1)
        return attempt.callback(how)  # type: ignore[misc]

    with pytest.raises(SystemExit):
        run(noisy, [])
    error = capsys.readouterr().err
    assert "Java stack" not in error and "wrong use" not in error
    assert error.count("\n") == (how == "failure")


def test_debug_shows_the_trace() -> None:
    with pytest.raises(HubError, match="no such thing"):
        run(attempt, ["failure", "--debug"])


def test_debug_of_a_real_command_prints_a_trace(hub: Hub) -> None:
    done = hub("status", "--debug", HUB__KAFKA__BOOTSTRAP="nowhere")
    assert done.status != 0
    assert "Traceback" in done.stderr


def test_wrong_setting_ends_a_command_with_one_line_and_status_2(hub: Hub) -> None:
    done = hub("status", HUB__KAFKA__BOOTSTRAP="nowhere")
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith("hub status: error: setting kafka.bootstrap = 'nowhere'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("organize --labels=,", "--labels ',' names no label: omit it for all ready labels"),
        ("organize --labels=", "--labels '' names no label: omit it"),
        ("organize --seed -1", "'--seed': -1 is not in the range 0<=x<=4294967295"),
        ("organize --seed 9223372036854775808", "'--seed': 9223372036854775808 is not in the range"),
        ("organize --without-flags dark,rain", "no flag 'rain'; there are dark, bright, blurry"),
        ("organize --cap 0", "'--cap': 0 is not in the range x>=1"),
        ("organize --weights nowhere.csv", "--weights nowhere.csv: No such file or directory"),
        ("organize --force", "--force is for --new-splits"),
        ("rejects --since 999999d", "--since '999999d': give 30m, 12h, 7d, or a time such as"),
    ],
)
def test_wrong_arguments_are_one_line_and_start_no_spark(
    arguments: str, message: str, settings: Settings, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a session was started")

    monkeypatch.setattr(session, "start", started)
    with pytest.raises(SystemExit) as left:
        run(hub_group, arguments.split())
    error = capsys.readouterr().err
    assert (left.value.code, error.count("\n")) == (2, 1)
    assert message in error


def test_unknown_command_ends_with_status_2(hub: Hub) -> None:
    done = hub("fly")
    assert done.status == 2
    assert "'fly'" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(hub_group, [name, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert re.search(rf"Example:\n +hub {name}", text)
    assert "--json" in text


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(hub_group, ["--help"])
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)
