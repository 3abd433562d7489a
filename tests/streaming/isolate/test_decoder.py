"""The decoder process: a picture that crashes or hangs it is rejected, and no other picture."""

import ctypes
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from conf.settings import Settings
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.errors import DecoderLost
from streaming.isolate import decoder
from streaming.isolate.decoder import Decoder
from streaming.verify import preprocess
from streaming.verify.prepared import Prepared
from tests.support import evil, pictures
from tests.support.waiting import wait_until

PR_CAPBSET_DROP, CAP_SYS_RESOURCE = 24, 24  # prctl(2), capabilities(7)
GOOD = [pictures.jpeg(seed=seed) for seed in range(4)]


@pytest.fixture(scope="module")
def rules(settings: Settings) -> Rules:
    """The rules of the settings, but with a decoder that misbehaves on demand, and a short timeout."""
    decoding = settings.decoding.model_copy(
        update={"function": "tests.support.evil:prepare", "timeout_seconds": 1.0}
    )
    return Rules.of(settings.model_copy(update={"decoding": decoding}))


@pytest.fixture(scope="module")
def unfiltered(rules: Rules) -> Rules:
    """As on a kernel without seccomp, where a picture that has taken over the child can do more."""
    return replace(rules, decoding=rules.decoding.model_copy(update={"seccomp": False}))


@pytest.fixture(scope="module")
def evil_decoder(unfiltered: Rules) -> Iterator[Decoder]:
    with Decoder(unfiltered) as own:
        yield own


@pytest.fixture(scope="module")
def filtered_decoder(rules: Rules) -> Iterator[Decoder]:
    with Decoder(rules) as own:
        yield own


@pytest.mark.parametrize(
    ("trailer", "reason", "detail"),
    [
        (evil.SEGFAULT, Reason.DECODER_CRASHED, "killed by SIGSEGV"),
        (evil.ABORT, Reason.DECODER_CRASHED, "killed by SIGABRT"),
        (evil.EXIT, Reason.DECODER_CRASHED, "exited with code 3"),
        (evil.NUMPY_ALLOCATION, Reason.DECODER_CRASHED, "more than 1,536 MiB"),
        (evil.C_ALLOCATION, Reason.DECODER_CRASHED, "killed by SIGSEGV"),
        (evil.BUSY_LOOP, Reason.DECODE_TIMEOUT, "within 1 seconds"),
        (evil.SLEEP, Reason.DECODE_TIMEOUT, "within 1 seconds"),
        (evil.SHRINK_OUTPUT, Reason.DECODER_CRASHED, "exited with code 1"),
        (evil.PARTIAL_MESSAGE, Reason.DECODE_TIMEOUT, "within 1 seconds"),
        (evil.FLOOD_CONTROL, Reason.DECODE_TIMEOUT, "within 1 seconds"),
        (evil.FALSE_PROGRESS, Reason.DECODER_CRASHED, "wrote an invalid result: 0 results and "),
        (evil.EARLY_ANSWER, Reason.DECODER_CRASHED, "wrote an invalid result: done without a result"),
        (evil.FALSE_SIZES, Reason.DECODER_CRASHED, "wrote an invalid result: 1152921504606846976 results"),
    ],
)
def test_a_decoder_fault_rejects_that_picture_only(
    evil_decoder: Decoder, trailer: bytes, reason: Reason, detail: str
) -> None:
    outcomes = evil_decoder.prepare([GOOD[0], GOOD[1] + trailer, GOOD[2], GOOD[3] + trailer])

    assert [type(outcome) for outcome in outcomes] == [Prepared, Rejected, Prepared, Rejected]
    for outcome in outcomes[1::2]:
        assert isinstance(outcome, Rejected)
        assert outcome.reason is reason
        assert detail in outcome.detail
    assert evil_decoder.prepare(GOOD)[3] == outcome_of(GOOD[3], evil_decoder)


@pytest.mark.parametrize("trailer", evil.FORBIDDEN, ids=bytes.decode)
def test_a_decoder_that_leaves_its_work_is_killed(
    filtered_decoder: Decoder, evil_decoder: Decoder, trailer: bytes
) -> None:
    """No file, no socket, no program, no process, no signal to another process."""
    outcomes = filtered_decoder.prepare([GOOD[0], GOOD[1] + trailer, GOOD[2]])
    assert [type(outcome) for outcome in outcomes] == [Prepared, Rejected, Prepared]
    problem = outcomes[1]
    assert isinstance(problem, Rejected)
    assert (problem.reason, "killed by SIGSYS" in problem.detail) == (Reason.DECODER_CRASHED, True)


@pytest.mark.parametrize(
    "trailer", [b"evil:read-file", b"evil:socket", b"evil:kill-parent"], ids=bytes.decode
)
def test_without_the_filter_the_same_picture_is_accepted(evil_decoder: Decoder, trailer: bytes) -> None:
    assert isinstance(evil_decoder.prepare([GOOD[1] + trailer])[0], Prepared)


def test_every_fault_of_a_decoder_has_its_verdict_with_the_filter_too(filtered_decoder: Decoder) -> None:
    faults = (evil.SEGFAULT, evil.ABORT, evil.EXIT, evil.NUMPY_ALLOCATION, evil.C_ALLOCATION, evil.SLEEP)
    outcomes = filtered_decoder.prepare([GOOD[0] + trailer for trailer in (*faults, evil.THREAD)])
    details = [outcome.detail for outcome in outcomes if isinstance(outcome, Rejected)]
    expected = ("SIGSEGV", "SIGABRT", "code 3", "more than 1,536 MiB", "SIGSEGV", "within 1 seconds")
    assert [word in detail for word, detail in zip(expected, details, strict=True)] == [True] * 6
    assert isinstance(outcomes[-1], Prepared), "a decoder may start threads"


def test_where_the_kernel_refuses_the_filter_one_line_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Said by the first child only, and pictures are decoded as ever."""
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 'pdp11'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    log = tmp_path / "log"
    with log.open("w") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            with Decoder(Rules.of(settings)) as own:
                for _ in range(2):
                    assert isinstance(own.prepare(GOOD[:1])[0], Prepared)
                    os.kill(children(own.pid)[0], signal.SIGKILL)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    # Other threads of the test run may write to standard error, too.
    said = [line for line in log.read_text().splitlines() if line.startswith("decoder: ")]
    assert said == ["decoder: works without a seccomp filter: no seccomp filter for pdp11"]


def outcome_of(content: bytes, own: Decoder) -> object:
    return own.prepare([content])[0]


def test_decoder_process_returns_what_the_function_returns(settings: Settings) -> None:
    rules = Rules.of(settings)
    contents = [*GOOD, pictures.oriented(6), b"", b"GIF89a", GOOD[0][:300]]
    bare = rules.decoding.model_copy(update={"isolated": False})
    inside = decoder.prepare(contents, replace(rules, decoding=bare))
    with Decoder(rules) as own:
        for here, there in zip(inside, own.prepare(contents), strict=True):
            if isinstance(here, Prepared):
                assert isinstance(there, Prepared)
                assert (there.jpeg, there.thumbnail, there.phash) == (here.jpeg, here.thumbnail, here.phash)
                assert (there.format, there.width, there.height, there.flags, there.taken_at) == (
                    here.format, here.width, here.height, here.flags, here.taken_at,
                )  # fmt: skip
                assert there.metrics == pytest.approx(here.metrics, rel=1e-6)
            else:
                assert isinstance(there, Rejected)
                assert (there.reason, there.detail) == (here.reason, here.detail)


def test_more_pictures_than_the_shared_memory_holds_are_prepared(settings: Settings) -> None:
    """Twelve pictures of 3 MB against 20 MB of memory, and results larger than the output memory."""
    ingest = settings.ingest.model_copy(update={"longest_side": 1600, "jpeg_quality": 100})
    rules = Rules.of(settings.model_copy(update={"ingest": ingest}))
    contents = [GOOD[number % 4].ljust(3_000_000, b"\0") for number in range(12)]
    large = pictures.encoded(pictures.static(1600, 1600), quality=100)
    with Decoder(rules) as own:
        assert all(isinstance(outcome, Prepared) for outcome in own.prepare(contents))
        answers = own.prepare([large] * 12)
    kept = [len(answer.jpeg) for answer in answers if isinstance(answer, Prepared)]
    assert len(kept) == 12
    assert sum(kept) > 30_000_000


def test_the_largest_accepted_webp_fits_into_the_memory_limit(settings: Settings) -> None:
    """The WebP decoder holds the pixels several times."""
    assert settings.ingest.max_pixels == 8000 * 8000
    lossy = pictures.encoded(Image.new("RGB", (8000, 8000), (200, 90, 20)), "WEBP", method=0)
    with Decoder(Rules.of(settings)) as own:
        for outcome in own.prepare([pictures.flat_webp(8000, 8000), lossy]):
            assert isinstance(outcome, Prepared), outcome
            assert (outcome.width, outcome.height) == (8000, 8000)


def test_a_decoder_that_cannot_start_is_an_error_and_not_a_verdict(settings: Settings) -> None:
    decoding = settings.decoding.model_copy(update={"function": "tests.support.evil:no_such_function"})
    with (
        Decoder(Rules.of(settings.model_copy(update={"decoding": decoding}))) as own,
        pytest.raises(DecoderLost, match="no_such_function"),
    ):
        own.prepare(GOOD)


def test_after_the_child_is_killed_a_new_child_decodes_the_next_pictures(rules: Rules) -> None:
    with Decoder(rules) as own:
        for _ in range(100):  # a request that the dead child left unread must not reach the next: 1 in 80 did
            own.prepare(GOOD[:1])
            (worker,) = children(own.pid)
            os.kill(worker, signal.SIGKILL)
            assert all(isinstance(outcome, Prepared) for outcome in own.prepare(GOOD))
            assert children(own.pid) != [worker]


def test_no_process_outlives_the_python_worker(rules: Rules) -> None:
    """Not even a child that is busy with a picture when its Python worker is killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        own = Decoder(rules)
        own.prepare(GOOD[:1])
        os.write(writing, b"%d" % own.pid)
        own.prepare([GOOD[0] + evil.SLEEP] * 100)
        os._exit(0)
    zygote = int(os.read(reading, 20))
    (worker,) = children(zygote)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert wait_until(lambda: not is_alive(zygote) and not is_alive(worker))


def test_child_has_hard_cpu_and_memory_limits_and_no_credentials(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Decoder(rules) as own:
        own.prepare(GOOD)
        (worker,) = children(own.pid)
        lines = Path(f"/proc/{worker}/limits").read_text().splitlines()
        limits = {line[:25].strip(): line[25:46].strip() for line in lines}
        assert int(limits["Max cpu time"]) <= 3
        assert int(limits["Max address space"]) < 4 * 2**30
        assert b"AWS_" not in Path(f"/proc/{own.pid}/environ").read_bytes()


def in_a_child_process(holds: Callable[[], bool]) -> bool:
    """Whether the check holds in a child process, where it can change limits for good."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = int(not holds())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_user_with_a_hard_cpu_limit_can_decode(settings: Settings) -> None:
    """Only root may raise a hard limit, so the decoder must keep the existing one."""

    def decodes() -> bool:
        resource.setrlimit(resource.RLIMIT_CPU, (3600, 3600))
        # Without this capability, root may not raise the limit in child processes either.
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE)
        with Decoder(Rules.of(settings)) as own:
            return all(isinstance(outcome, Prepared) for outcome in own.prepare(GOOD))

    assert in_a_child_process(decodes)


def test_a_process_with_thousands_of_open_files_can_decode(rules: Rules) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def decodes() -> bool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        with Path(os.devnull).open() as file:
            while os.dup(file.fileno()) < 1100:
                pass
        with Decoder(rules) as own:
            outcomes = own.prepare([GOOD[0], GOOD[1] + evil.SLEEP, GOOD[2]])
        return [type(outcome) for outcome in outcomes] == [Prepared, Rejected, Prepared]

    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip(f"at most {hard} files may be open")
    assert in_a_child_process(decodes)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_in_process_a_verdict_is_the_same(settings: Settings) -> None:
    rules = Rules.of(settings)
    with pytest.raises(Rejected):
        preprocess.prepare(GOOD[0][:200], rules)
