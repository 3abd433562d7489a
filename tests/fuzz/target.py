"""The fuzz target: mutated pictures through the real verify pass, in a process that may die of them.

    make fuzz                                    20,000 pictures of seed 1
    python -m tests.fuzz.target --seed 7 --count 1000   others
    python -m tests.fuzz.target --isolated              through the process that decodes for ingestion

A picture that crashes or hangs the pass, gets a verdict outside the list or is stored as something that
cannot be loaded is a finding: its bytes go to build/fuzz/, and the exit status is 1. Slow ones are listed.
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

from conf.places import home
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.isolate import decoder
from streaming.verify.prepared import Prepared
from streaming.verify.preprocess import prepare
from tests.fuzz.mutations import mutated
from tests.support.verdicts import rules

# The pass under test: bytes and rules in, a prepared picture or `Rejected` out.
PASS: Callable[[bytes, Rules], Prepared] = prepare

SLOW = 2.0  # seconds; a picture that takes longer is worth a look
HANGS = 60.0  # seconds
FOLDER = home() / "build" / "fuzz"
_ACCEPTED = "accepted"


@dataclass(frozen=True)
class Outcome:
    """What became of a picture: `accepted`, a reason, or how the pass broke.

    Args:
        seconds: the pass took.
        stored: the encoded picture and thumbnail of an accepted one.
    """

    verdict: str
    seconds: float
    stored: tuple[bytes, ...] = ()


@dataclass
class Findings:
    """What a run found.

    Args:
        verdicts: verdict to pictures.
        slowest: seconds and number of the slowest pictures.
        broken: number of a picture and what it broke.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    slowest: list[tuple[float, int]] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, number: int, outcome: Outcome) -> str | None:
        """Count a picture; what is wrong with its outcome, if anything."""
        self.verdicts[outcome.verdict] += 1
        self.slowest = sorted([*self.slowest, (outcome.seconds, number)], reverse=True)[:10]
        wrong = _wrong(outcome)
        if wrong:
            self.broken.append((number, wrong))
        return wrong


def _wrong(outcome: Outcome) -> str | None:
    if outcome.verdict == _ACCEPTED:
        for content in outcome.stored:
            try:
                with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
                    image.load()
            except Exception as error:  # whatever Pillow says, it is a finding
                return f"accepted, but what is stored cannot be loaded: {error}"
        return None if outcome.stored else "accepted, but nothing is stored"
    if outcome.verdict in {Reason.DECODER_CRASHED, Reason.DECODE_TIMEOUT}:
        return f"the isolated decoder: {outcome.verdict}"
    return None if outcome.verdict in set(Reason) else f"no verdict of the list: {outcome.verdict}"


def isolated(content: bytes, rules: Rules) -> Prepared:
    """The pass as ingestion calls it, for `PASS`."""
    (outcome,) = decoder.prepare([content], rules)
    if isinstance(outcome, Rejected):
        raise outcome
    return outcome


class Subject:
    """The pass in a process of its own, which is replaced when it dies."""

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

    def judge(self, content: bytes) -> Outcome:
        """Put one picture through the pass."""
        begun = time.monotonic()
        try:
            self._ours.send_bytes(content)
            if self._ours.poll(HANGS):
                answer: Outcome = self._ours.recv()
                return answer
            how = f"hangs for more than {HANGS:.0f} s"
        except (EOFError, OSError):
            self._process.join(10)
            how = f"the process died, exit code {self._process.exitcode}"
        self.__exit__()
        self._start()
        return Outcome(how, time.monotonic() - begun)


def _serve(pipe: Connection) -> None:
    """Judge what comes through the pipe until it is closed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders complain there
    with suppress(EOFError):
        while True:
            content = pipe.recv_bytes()
            begun = time.monotonic()
            verdict, stored = _judged(content)
            pipe.send(Outcome(verdict, time.monotonic() - begun, stored))


def _judged(content: bytes) -> tuple[str, tuple[bytes, ...]]:
    try:
        prepared = PASS(content, rules())
    except Rejected as problem:
        return str(problem.reason), ()
    except BaseException as error:  # the pass promises that nothing else leaves it
        return f"{type(error).__name__}: {error}", ()
    return _ACCEPTED, (prepared.jpeg, prepared.thumbnail)


def run(seed: int, count: int, folder: Path = FOLDER) -> Findings:
    """Judge so many pictures of a seed; the bytes of those that break something go to the folder."""
    findings, begun = Findings(), time.monotonic()
    with Subject() as subject:
        for number in range(count):
            content = mutated(seed, number)
            if findings.add(number, subject.judge(content)):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{seed}-{number}.bin").write_bytes(content)
    findings.seconds = time.monotonic() - begun
    return findings


def summary(seed: int, findings: Findings) -> str:
    """The figures of a run, one a line."""
    count = findings.verdicts.total()
    lines = [f"{count:,} pictures of seed {seed}, {count / findings.seconds:,.0f}/s"]
    lines += [f"  {number:7,}  {verdict}" for verdict, number in findings.verdicts.most_common()]
    slowest = ", ".join(f"{seconds:.2f} s ({number})" for seconds, number in findings.slowest[:5])
    lines.append(f"slowest: {slowest}")
    lines += [f"SLOW: number {number}, {took:.1f} s" for took, number in findings.slowest if took > SLOW]
    lines += [f"FOUND: number {number}: {what}" for number, what in findings.broken]
    return "\n".join(lines)


def main() -> int:
    """Run the target; 1 if it found something."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.target", description="Mutated pictures, verified."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--isolated", action="store_true")
    chosen = parser.parse_args()
    if chosen.isolated:
        global PASS
        PASS = isolated
    findings = run(chosen.seed, chosen.count)
    print(summary(chosen.seed, findings))
    return 1 if findings.broken else 0


if __name__ == "__main__":
    sys.exit(main())
