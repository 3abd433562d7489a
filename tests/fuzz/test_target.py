"""The fuzz target: a short run, and that it detects crashes, hangs and wrong results."""

import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.settings import Settings
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.isolate.decoder import Decoder
from streaming.isolate.sandbox import prepare_or_reject
from streaming.verify.prepared import Prepared
from streaming.verify.preprocess import prepare
from tests.fuzz import target
from tests.fuzz.mutations import join_parts, mutant, seeds, split_parts
from tests.fuzz.target import Findings, Outcome, PassProcess, run
from tests.support import pictures
from tests.support.verdicts import accepted

Pass = Callable[[bytes, Rules], Prepared]


def test_a_thousand_mutated_pictures_have_no_finding(tmp_path: Path) -> None:
    findings = run(seed=2, count=1000, folder=tmp_path)
    assert findings.broken == [], f"see {tmp_path}"
    assert findings.verdicts.total() == 1000
    expected = {
        Reason.UNDECODABLE,
        Reason.TRUNCATED,
        Reason.UNSUPPORTED_FORMAT,
        Reason.PIXEL_BOMB,
        "accepted",
    }
    assert set(findings.verdicts) >= expected, "the mutations do not cause enough different verdicts"
    assert findings.verdicts["accepted"] > 50


def test_every_seed_is_accepted_and_can_be_split_and_joined() -> None:
    assert len(seeds()) > 20
    for content in seeds():
        assert accepted(content).jpeg
        head, *parts = split_parts(content)
        assert len(parts) >= 1
        assert join_parts(head, parts) == content


def test_the_decoder_process_gives_the_same_verdicts(settings: Settings) -> None:
    """Its seccomp filter forbids nothing that a picture needs, whatever its format and fault."""
    contents = [*seeds(), *(mutant(6, number) for number in range(300))]
    contents = [content for content in contents if 0 < len(content) <= settings.ingest.max_bytes]
    rules = Rules.of(settings)
    with Decoder(rules) as own:
        for content, outcome in zip(contents, own.prepare(contents), strict=True):
            here = prepare_or_reject(content, prepare, rules)
            if isinstance(outcome, Rejected):
                assert isinstance(here, Rejected)
                assert (outcome.reason, outcome.detail) == (here.reason, here.detail)
            else:
                assert isinstance(here, Prepared)
                assert outcome.jpeg == here.jpeg


def test_the_same_number_is_the_same_picture() -> None:
    assert [mutant(3, number) for number in range(50)] == [mutant(3, number) for number in range(50)]
    assert len({mutant(3, number) for number in range(200)}) > 190
    assert mutant(3, 1) != mutant(4, 1)


def segfault(content: bytes, rules: Rules) -> Prepared:
    if content == b"kill":
        faulthandler.disable()  # otherwise the test log shows this intended crash
        os.kill(os.getpid(), signal.SIGSEGV)
    return prepare(content, rules)


def strange(content: bytes, rules: Rules) -> Prepared:
    raise ZeroDivisionError("strange")


def endless(content: bytes, rules: Rules) -> Prepared:
    while True:
        time.monotonic()


def test_a_crash_is_reported_and_the_next_picture_is_processed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target, "PASS", segfault)
    with PassProcess() as process:
        verdicts = [process.run(content).verdict for content in (pictures.jpeg(), b"kill", pictures.jpeg())]
    assert verdicts == ["accepted", "the process died, exit code -11", "accepted"]


@pytest.mark.parametrize(("broken", "words"), [(strange, "ZeroDivisionError: strange"), (endless, "hangs")])
def test_bytes_of_a_finding_are_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: Pass, words: str
) -> None:
    monkeypatch.setattr(target, "PASS", broken)
    monkeypatch.setattr(target, "HANG_SECONDS", 0.5)
    findings = run(seed=5, count=1, folder=tmp_path)
    ((number, what),) = findings.broken
    assert (number, words in what) == (0, True)
    assert (tmp_path / "5-0.bin").read_bytes() == mutant(5, 0)


def test_a_stored_picture_that_cannot_be_loaded_is_a_finding() -> None:
    findings = Findings()
    whole = pictures.jpeg()
    assert findings.add(0, Outcome("accepted", 0.1, (whole, whole))) is None
    assert findings.add(1, Outcome("accepted", 0.1, (whole, whole[:-500])))
    assert findings.add(2, Outcome("accepted", 0.1))
    assert findings.add(3, Outcome("perhaps", 0.1))
    assert [number for number, _ in findings.broken] == [1, 2, 3]
