"""SIGTERM and SIGHUP end each command as Ctrl-C does, with the exit status that shells give."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.waiting import wait_until

COMMAND = """
import signal, sys, threading
import click
from jobs.cli.command import Command, run, say
from streaming.upload.interrupts import first_interrupt

@click.command(cls=Command, name="wait", example="hub wait")
@click.argument("how")
def wait(how):
    try:
        if how == "event":
            with first_interrupt() as event:
                say("ready")
                event.wait(60)
                return {}, "counted", 0
        say("ready")
        threading.Event().wait(60)
    except KeyboardInterrupt:
        if how == "raise":
            raise
        return {}, "summary", 0
    finally:
        say("released")

run(wait)
"""


def _default_signals() -> None:
    """As a terminal starts a command, also where the tests run under nohup."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def ended(
    how: str,
    number: signal.Signals,
    output: Path,
    prepare: Callable[[], object] = _default_signals,
    *before: signal.Signals,
) -> int:
    """Send signals to a waiting command, `number` as the last; its exit status."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, how],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=file, stderr=file, preexec_fn=prepare,
        )  # fmt: skip
    try:
        assert wait_until(lambda: b"ready" in output.read_bytes(), 60)
        for each in (*before, number):
            process.send_signal(each)
        return process.wait(30)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_ends_a_command_after_it_has_released_what_it_holds(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    assert ended("raise", number, tmp_path / "out") == status
    assert (tmp_path / "out").read_text().split("\n")[1:] == ["released", "", "hub wait: interrupted", ""]


@pytest.mark.parametrize(("how", "text"), [("summary", "summary"), ("event", "counted")])
def test_a_command_that_ends_well_after_ctrl_c_has_its_summary_and_status_143_after_sigterm(
    tmp_path: Path, how: str, text: str
) -> None:
    assert ended(how, signal.SIGTERM, tmp_path / "out") == 143
    assert (tmp_path / "out").read_text().split("\n")[1:] == ["released", text, ""]


def test_sigterm_ends_a_background_job_that_ignores_ctrl_c(tmp_path: Path) -> None:
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    assert ended("raise", signal.SIGTERM, tmp_path / "out", ignore) == 143
    assert "released" in (tmp_path / "out").read_text()


def test_sighup_does_not_end_a_command_under_nohup(tmp_path: Path) -> None:
    ignore = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    assert ended("raise", signal.SIGTERM, tmp_path / "out", ignore, signal.SIGHUP) == 143
