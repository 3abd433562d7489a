from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conf import settings as configuration
from conf.settings import Settings
from streaming.contract import envelope
from streaming.contract.envelope import Envelope
from streaming.contract.record import Header, Upload
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason

GOOD = Upload(
    id="u-1",
    device="phone-001",
    time=datetime(2026, 11, 21, 8, 0, tzinfo=UTC),
    label="Black Cat",
    content=b"",
    user="ann",
    batch="monday",
    location=(52.5200, 13.4050),
    sha256="AB" * 32,
)


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules.of(configuration.load())


def headers(**changed: bytes | None) -> list[Header]:
    values: dict[str, bytes | None] = dict(GOOD.headers())
    values |= {f"ce_{name}": value for name, value in changed.items()}
    return list(values.items())


def test_good_headers_become_fields(rules: Rules) -> None:
    assert envelope.parse(GOOD.key(), GOOD.headers(), rules) == Envelope(
        upload_id="u-1",
        device="phone-001",
        user="ann",
        batch="monday",
        label="black_cat",
        label_name=GOOD.label,
        event_time=datetime(2026, 11, 21, 8, 0, tzinfo=UTC),
        geohash="u33dc",  # of Berlin's centre, from geohash.org
        sha256="ab" * 32,
    )


@pytest.mark.parametrize("name", ["id", "source", "type", "time", "label"])
def test_required_header_is_named_when_missing(rules: Rules, name: str) -> None:
    without = [header for header in GOOD.headers() if header[0] != f"ce_{name}"]
    for absent in (without, headers(**{name: None})):
        problem = envelope.parse(GOOD.key(), absent, rules).problem
        assert problem is not None
        assert (problem.reason, problem.detail) == (Reason.MISSING_HEADER, f"no ce_{name}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", b"hub.image.deleted.v1"),
        ("specversion", b"0.3"),
        ("source", b"phone-001"),
        ("source", b"/devices/"),
        ("source", b"/devices/a/../b"),
        ("time", b"yesterday"),
        ("time", b"2026-11-21T08:00:00"),  # no zone
        ("time", b"20261121T080000Z"),
        ("time", b"2026-13-01T00:00:00Z"),
        ("time", b"0001-01-01T00:00:00+23:59"),
        ("geo", b"52.5"),
        ("geo", b"nan,nan"),
        ("geo", b"91,0"),
        ("sha256", b"abc"),
        ("id", b"\xff\xfe"),
        ("id", b"a\0b"),
        ("id", b""),
        ("user", b"x" * 1025),
        ("label", b"x" * 1_000_000),
    ],
)
def test_malformed_header_is_rejected_and_named(rules: Rules, name: str, value: bytes) -> None:
    problem = envelope.parse(GOOD.key(), headers(**{name: value}), rules).problem
    assert problem is not None
    assert problem.reason is Reason.BAD_HEADER
    assert f"ce_{name}" in problem.detail
    assert len(problem.detail) < 300


def test_repeated_header_is_rejected_even_with_equal_values(rules: Rules) -> None:
    problem = envelope.parse(GOOD.key(), [*GOOD.headers(), ("ce_id", b"u-1")], rules).problem
    assert problem is not None
    assert (problem.reason, problem.detail) == (Reason.BAD_HEADER, "ce_id occurs 2 times")


@pytest.mark.parametrize(
    ("claimed", "label"),
    [
        ("Cat", "cat"),
        ("  Black   Cat ", "black_cat"),
        ("ﬁsh", "fish"),
        ("７", "7"),
        ("ice-cream_2", "ice-cream_2"),
        ("Crème brûlée", "creme_brulee"),
        ("jack-o'-lantern", "jack-o_-lantern"),
    ],
)
def test_label_becomes_its_slug_and_the_written_name_is_kept(rules: Rules, claimed: str, label: str) -> None:
    parsed = envelope.parse(None, headers(label=claimed.encode()), rules)
    assert (parsed.label, parsed.label_name, parsed.problem) == (label, claimed.strip(), None)


@pytest.mark.parametrize(
    "claimed", ["../etc/passwd", "кот", "🐈", "cat\0dog", " ", "a/b", "猫", "a\\b", "ca\u202et"]
)
def test_label_without_a_slug_is_rejected(rules: Rules, claimed: str) -> None:
    parsed = envelope.parse(None, headers(label=claimed.encode()), rules)
    assert parsed.problem is not None
    assert parsed.problem.reason is Reason.BAD_LABEL
    assert (parsed.label, parsed.label_name) == (None, None)


def test_closed_mode_accepts_only_listed_labels(closed: Rules) -> None:
    assert envelope.parse(None, headers(label=b"cat"), closed).problem is None
    problem = envelope.parse(None, headers(label=b"unicorn"), closed).problem
    assert problem is not None
    assert problem.reason is Reason.UNKNOWN_LABEL


def test_valid_fields_are_kept_beside_the_problem(rules: Rules) -> None:
    parsed = envelope.parse(b"phone-001", headers(time=b"never", source=b"nowhere"), rules)
    assert (parsed.upload_id, parsed.device, parsed.label) == ("u-1", "phone-001", "black_cat")


def test_location_is_dropped_if_the_setting_says_so() -> None:
    settings: Settings = configuration.load()
    ingest = settings.ingest.model_copy(update={"geohash_length": 0})
    rules = Rules.of(settings.model_copy(update={"ingest": ingest}))
    assert envelope.parse(None, GOOD.headers(), rules).geohash is None


@pytest.fixture
def closed() -> Rules:
    settings = configuration.load()
    labels = settings.labels.model_copy(update={"mode": "closed"})
    return Rules.of(settings.model_copy(update={"labels": labels}))


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_alias_is_stored_as_the_label_that_it_stands_for(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("label,parent,display_name,aliases\ncat,,Cat,Kitty;House cat\n")
    settings = configuration.load()
    labels = settings.labels.model_copy(update={"mode": mode, "file": file})
    rules = Rules.of(settings.model_copy(update={"labels": labels}))
    parsed = envelope.parse(None, replace(GOOD, label="house Cat").headers(), rules)
    assert (parsed.label, parsed.label_name, parsed.problem) == ("cat", "house Cat", None)
