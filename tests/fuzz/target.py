"""The fuzz target: runs the real verification pass on mutated pictures, in a process that may crash.

    make fuzz                                           20,000 pictures of seed 1
    python -m tests.fuzz.target --seed 7 --count 1000   1,000 pictures of seed 7
    python -m tests.fuzz.target --isolated              in the decoder process, as in ingestion

A picture is a finding if it crashes or hangs the pass, gets an unknown verdict, or is stored as a file that
cannot be loaded. Its bytes go to build/fuzz/, and the exit status is 1. Slow pictures are listed.
"""

import argparse
import io
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from PIL import Image

from conf.places import base_dir
from streaming.contract.rules import Rules
from streaming.contract.verdict import REASONS, Reason, Rejected
from streaming.isolate import decoder
from streaming.verify import file_checks
from streaming.verify.prepared import Prepared
from streaming.verify.preprocess import prepare
from tests.fuzz.mutations import mutant
from tests.support.verdicts import rules

# The pass under test: bytes and rules in, a prepared picture or `Rejected` out.
PASS: Callable[[bytes, Rules], Prepared] = prepare

SLOW_SECONDS = 2.0  # a picture that takes longer is listed
HANG_SECONDS = 60.0  # a picture that takes longer is a finding
FOLDER = base_dir() / "build" / "fuzz"
_ACCEPTED = "accepted"


@dataclass(frozen=True)
class Outcome:
    """Outcome of the pass for a picture.

    Args:
        verdict: `accepted`, a reason, or how the pass failed.
        seconds: duration of the pass.
        stored: the encoded picture and thumbnail of an accepted picture.
    """

    verdict: str
    seconds: float
    stored: tuple[bytes, ...] = ()


@dataclass
class Findings:
    """Findings of a run.

    Args:
        verdicts: verdict to number of pictures.
        slowest: seconds and number of the slowest pictures.
        broken: number of each finding's picture, and the fault.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    slowest: list[tuple[float, int]] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, number: int, outcome: Outcome) -> str | None:
        """Count a picture; return the fault of its outcome, or None."""
        self.verdicts[outcome.verdict] += 1
        self.slowest = sorted([*self.slowest, (outcome.seconds, number)], reverse=True)[:10]
        fault = _find_fault(outcome)
        if fault:
            self.broken.append((number, fault))
        return fault


def _find_fault(outcome: Outcome) -> str | None:
    if outcome.verdict == _ACCEPTED:
        for content in outcome.stored:
            try:
                with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
                    image.load()
            except Exception as error:  # any error of Pillow is a finding
                return f"accepted, but what is stored cannot be loaded: {error}"
        return None if outcome.stored else "accepted, but nothing is stored"
    if outcome.verdict in {Reason.DECODER_CRASHED, Reason.DECODE_TIMEOUT}:
        return f"the isolated decoder: {outcome.verdict}"
    return None if outcome.verdict in REASONS else f"no verdict of the list: {outcome.verdict}"


def isolated(content: bytes, rules: Rules) -> Prepared:
    """The pass in the decoder process, as in ingestion; a value for `PASS`."""
    (outcome,) = decoder.prepare([content], rules)
    if isinstance(outcome, Rejected):
        raise outcome
    return outcome


class PassProcess:
    """Runs the pass in a child process, which is replaced when it dies."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._process.kill()
        self._process.join()

    def run(self, content: bytes) -> Outcome:
        """Run the pass on one picture."""
        begun = time.monotonic()
        try:
            self._ours.send_bytes(content)
            if self._ours.poll(HANG_SECONDS):
                answer: Outcome = self._ours.recv()
                return answer
            fault = f"hangs for more than {HANG_SECONDS:.0f} s"
        except (EOFError, OSError):
            self._process.join(10)
            fault = f"the process died, exit code {self._process.exitcode}"
        self.__exit__()
        self._start()
        return Outcome(fault, time.monotonic() - begun)


def _serve(pipe: Connection) -> None:
    """Run the pass on each picture from the pipe, until it is closed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write warnings to it
    with suppress(EOFError):
        while True:
            content = pipe.recv_bytes()
            begun = time.monotonic()
            verdict, stored = _run_pass(content)
            pipe.send(Outcome(verdict, time.monotonic() - begun, stored))


def _run_pass(content: bytes) -> tuple[str, tuple[bytes, ...]]:
    try:
        file_checks.image_id(content, None, rules().ingest)  # as in ingestion: not empty, not too large
        prepared = PASS(content, rules())
    except Rejected as problem:
        return str(problem.reason), ()
    except BaseException as error:  # the pass may raise only `Rejected`
        return f"{type(error).__name__}: {error}", ()
    return _ACCEPTED, (prepared.jpeg, prepared.thumbnail)


def run(seed: int, count: int, folder: Path = FOLDER) -> Findings:
    """Run the pass on `count` pictures of a seed; the bytes of findings go to the folder."""
    findings, begun = Findings(), time.monotonic()
    with PassProcess() as process:
        for number in range(count):
            content = mutant(seed, number)
            if findings.add(number, process.run(content)):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{seed}-{number}.bin").write_bytes(content)
    findings.seconds = time.monotonic() - begun
    return findings


def format_summary(seed: int, findings: Findings) -> str:
    """Format the results of a run."""
    count = findings.verdicts.total()
    lines = [f"{count:,} pictures of seed {seed}, {count / findings.seconds:,.0f}/s"]
    lines += [f"  {number:7,}  {verdict}" for verdict, number in findings.verdicts.most_common()]
    slowest = ", ".join(f"{seconds:.2f} s ({number})" for seconds, number in findings.slowest[:5])
    lines.append(f"slowest: {slowest}")
    slow = [(seconds, number) for seconds, number in findings.slowest if seconds > SLOW_SECONDS]
    lines += [f"SLOW: number {number}, {seconds:.1f} s" for seconds, number in slow]
    lines += [f"FOUND: number {number}: {what}" for number, what in findings.broken]
    return "\n".join(lines)


def main() -> int:
    """Run the target; return 1 if there are findings."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.target", description="Runs the verification pass on mutated pictures."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--isolated", action="store_true")
    chosen = parser.parse_args()
    if chosen.isolated:
        global PASS
        PASS = isolated
    findings = run(chosen.seed, chosen.count)
    print(format_summary(chosen.seed, findings))
    return 1 if findings.broken else 0


if __name__ == "__main__":
    sys.exit(main())
