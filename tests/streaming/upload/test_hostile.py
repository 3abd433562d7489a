"""Every hostile upload is rejected for its expected reason."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conf import settings as configuration
from conf.settings import Settings
from jobs.demo import with_closed_labels as closed_for_demo
from streaming.contract.record import Upload
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, Verdict
from streaming.isolate.arrow_batches import ConsumerRecord, ledger_rows
from streaming.sources.items import Item
from streaming.upload import hostile_pictures
from streaming.upload.hostile import FaultGenerator, HostileUpload
from streaming.upload.phones import Fleet
from streaming.verify import file_checks
from tests.support import pictures
from web.pictures.specimen import preview

COUNT = 196  # fourteen variants of each kind, which covers all variants


@pytest.fixture(scope="module")
def settings() -> Settings:
    return configuration.load()


@pytest.fixture(scope="module")
def closed(settings: Settings) -> Settings:
    labels = settings.labels.model_copy(update={"mode": "closed"})
    return settings.model_copy(update={"labels": labels})


def uploads(count: int) -> list[Upload]:
    fleet = Fleet(5, "batch")
    return [fleet.upload(n, Item("x.jpg", pictures.jpeg(seed=n), "cat")) for n in range(count)]


def hostile_uploads(settings: Settings, count: int) -> list[HostileUpload]:
    faults, valid = FaultGenerator.of(settings), uploads(10)
    return [faults.generate(valid[number % len(valid)], number) for number in range(count)]


def row(hostile: HostileUpload, rules: Rules) -> dict[str, Any]:
    sent = hostile.record
    record = ConsumerRecord("images", 0, 0, 0, sent.key, sent.value, sent.headers)
    return ledger_rows([record], rules)[0]


def test_every_hostile_upload_is_rejected_for_its_expected_reason(settings: Settings) -> None:
    rules = Rules.of(settings)
    for number, hostile in enumerate(hostile_uploads(settings, COUNT)):
        if hostile.reason is Reason.DUPLICATE_UPLOAD:
            assert row(hostile, rules)["verdict"] == Verdict.ACCEPTED  # only the ledger finds duplicates
        else:
            found = row(hostile, rules)
            assert found.get("reason") == hostile.reason, (number, found.get("detail"))


@pytest.mark.parametrize("heic", [True, False])
def test_other_formats_are_unsupported_with_and_without_heic(settings: Settings, heic: bool) -> None:
    limits = settings.ingest.model_copy(update={"heic": heic})
    for variant in range(9):
        with pytest.raises(Rejected, match=Reason.UNSUPPORTED_FORMAT):
            file_checks.detect_format(hostile_pictures.unsupported(variant), limits)


def test_sixty_hostile_uploads_cover_each_reason_that_data_can_cause_twice(settings: Settings) -> None:
    needs_more_than_data = {Reason.DECODE_TIMEOUT, Reason.DECODER_CRASHED, Reason.UNKNOWN_LABEL}
    flags = {"dark", "bright", "blurry", "low_information", "odd_aspect", "odd_size", "grayscale"}
    provoked = {reason for reason in Reason if reason not in needs_more_than_data and reason not in flags}
    counts = Counter(hostile.reason for hostile in hostile_uploads(settings, 60))
    assert set(counts) == provoked
    assert min(counts.values()) >= 2


def test_unknown_labels_are_generated_only_if_labels_are_closed(closed: Settings) -> None:
    known = Rules.of(closed)
    unknown = [each for each in hostile_uploads(closed, 60) if each.reason is Reason.UNKNOWN_LABEL]
    assert len(unknown) >= 2
    assert all(row(each, known)["reason"] == Reason.UNKNOWN_LABEL for each in unknown)


def test_demo_of_digits_has_closed_labels_so_that_unknown_ones_are_rejected(settings: Settings) -> None:
    demo = closed_for_demo(settings)
    assert {str(digit) for digit in range(10)} <= (Rules.of(demo).labels or set())
    assert Reason.UNKNOWN_LABEL in {reason for reason, _ in FaultGenerator.of(demo).kinds}


def test_demo_leaves_labels_open_if_the_list_has_no_digits(settings: Settings, tmp_path: Path) -> None:
    listed = tmp_path / "labels.csv"
    listed.write_text("label,parent,display_name\ncat,,Cat\n")
    own = settings.model_copy(update={"labels": settings.labels.model_copy(update={"file": listed})})
    assert closed_for_demo(own) == own


def test_duplicate_has_id_and_device_of_the_upload_it_repeats(settings: Settings) -> None:
    (upload,) = uploads(1)
    faults = FaultGenerator.of(settings)
    for number in range(60):
        hostile = faults.generate(upload, number)
        repeats = dict(hostile.record.headers).get("ce_id") == upload.id.encode()
        assert repeats == (hostile.reason is Reason.DUPLICATE_UPLOAD)
        assert hostile.record.key == upload.key()


def test_same_number_breaks_the_same_rule_in_the_same_way(settings: Settings) -> None:
    first, second = hostile_uploads(settings, 60), hostile_uploads(settings, 60)
    assert [each.reason for each in first] == [each.reason for each in second]
    assert [each.record.value for each in first] == [each.record.value for each in second]


def test_every_specimen_of_the_report_is_shown_as_a_picture_or_as_bytes(settings: Settings) -> None:
    """No hostile payload breaks the page or makes it too large."""
    for hostile in hostile_uploads(settings, COUNT):
        shown = preview(hostile.record.value)
        assert (shown.jpeg is None) == bool(shown.hexdump)
        assert len(shown.jpeg or b"") + len(shown.hexdump) < 50_000


def test_hostile_uploads_fit_through_the_broker(settings: Settings) -> None:
    sizes = [hostile.record.size for hostile in hostile_uploads(settings, 60)]
    assert max(sizes) < 12 * 2**20
    assert sorted(sizes)[50] < 300_000  # all but the too large ones are small
