"""Headers from strangers: any script, any bytes, any number of headers."""

import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables
from lake.erasure.redaction import is_of_user
from lake.table import Table
from streaming.contract import envelope
from streaming.contract.envelope import Envelope
from streaming.contract.record import Header
from streaming.contract.verdict import Reason, RejectReason, Verdict
from streaming.ingestion import Ingestion, IngestReport
from streaming.isolate.arrow_batches import ConsumerRecord, ledger_rows, read_records
from tests.support import pictures
from tests.support.uploads import Raw, send, upload
from tests.support.verdicts import rules

NAMES = ["id", "source", "type", "time", "label", "specversion", "user", "batch", "geo", "sha256", "dataref"]


def headers(**changed: bytes | str | None) -> list[Header]:
    """Good headers with other values for some."""
    values = dict(upload(1).headers())
    for name, value in changed.items():
        values[f"ce_{name}"] = value.encode() if isinstance(value, str) else value
    return list(values.items())


def parsed(found: list[Header], key: bytes | None = b"phone-1") -> Envelope:
    return envelope.parse(key, found, rules())


def reason(found: list[Header]) -> RejectReason | None:
    problem = parsed(found).problem
    return problem.reason if problem else None


SCRIPTS = {
    "Cyrillic": "Анна Иванова",
    "Arabic": "مريم",
    "Persian, with a joiner": "می\u200cخواهم",
    "Hebrew, with a mark": "שרה\u200f",
    "Japanese, with a wide blank": "山田\u3000太郎",
    "Hindi": "क्षितिज",
    "combining": "Zoe\u0308 o\u0302\u0301",
    "full-width": "ＡＮＮＡ",
    "Turkish": "Iğdır ıİ",
    "emoji": "👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "newer than Python's tables": "\U0001fae8 \U0001fadf",
    "beyond the first plane": "𒀀𒁁",
    "no-break space": "Jean\u00a0Luc",
    "as in a path": "../../etc/passwd",
    "as in a page": "<script>alert(1)</script>",
    "as in a query": "'; DROP TABLE uploads; --",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_names_of_people_and_batches_may_be_of_any_script(script: str) -> None:
    found = parsed(headers(user=SCRIPTS[script], batch=SCRIPTS[script], id=SCRIPTS[script]))
    assert found.problem is None
    assert (found.user, found.batch, found.upload_id) == (SCRIPTS[script],) * 3


@pytest.mark.parametrize(
    "text",
    [
        "a\0b", "a\nb", "a\tb", "a\x7fb", "a\x85b", "a\u2028b", "a\u2029b", "invoice\u202egpj.exe",
        "a\u202db", "a\u2066b", "a\u2069b", "\ufeffa", "a\uffffb", "\x1b[31mred",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["user", "batch", "id", "source", "dataref"])
def test_control_characters_and_direction_marks_are_refused(name: str, text: str) -> None:
    value = f"/devices/{text}" if name == "source" else text
    problem = parsed(headers(**{name: value})).problem
    assert problem is not None
    assert problem.reason is Reason.BAD_HEADER
    assert problem.detail.isprintable()


@pytest.mark.parametrize(
    ("claimed", "label"),
    [
        ("ＣＡＴ", "cat"),
        ("Black\u3000Cat", "black_cat"),
        ("Black\u00a0Cat\n", "black_cat"),
        ("ﬁsh", "fish"),
        ("①", "1"),
        ("\u212aelvin", "kelvin"),  # the sign of the unit
        ("ISPARTA", "isparta"),  # lower case as in English, not as in Turkish
        ("ısparta", "isparta"),
        ("chat\u0302", "chat"),
        ("ca\u200dt", "ca_t"),
        ("cat;dog", "cat_dog"),
        ("_cat", "cat"),
        ("con:", "con_"),
    ],
)
def test_label_is_normalized(claimed: str, label: str) -> None:
    found = parsed(headers(label=claimed))
    assert (found.problem, found.label) == (None, label)


@pytest.mark.parametrize(
    "claimed",
    [
        "кошка", "قط", "猫", "🐈", "c\u202eat", "ca\0t", "\0", "../cat", "..", ".", "cat/dog", "/etc/passwd",
        "C:\\cat", "~", "$(rm -rf /)", "-_-", "cat\x1b[0m", "ca\nt", " ", "\u200b", "ﷺ" * 5, "猫" * 100,
    ],
)  # fmt: skip
def test_label_of_other_scripts_or_like_a_path_is_refused_printably(claimed: str) -> None:
    problem = parsed(headers(label=claimed)).problem
    assert problem is not None
    assert problem.reason is Reason.BAD_LABEL
    assert problem.detail.isprintable()
    assert len(problem.detail) < 300


def test_letter_of_another_script_that_looks_alike_makes_another_label() -> None:
    assert parsed(headers(label="сat")).label not in {None, "cat", "at"}  # the first letter is Cyrillic


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [b"\0", b"a\0b", b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"", b"x" * 1025, b"\0" * 1_000_000],
    ids=["NUL", "NUL inside", "no UTF-8", "overlong", "surrogate", "empty", "too long", "1 MB of NUL"],
)
def test_invalid_bytes_in_a_header_are_refused(name: str, value: bytes) -> None:
    problem = parsed(headers(**{name: value})).problem
    assert problem is not None
    assert problem.reason in {Reason.BAD_HEADER, Reason.BAD_LABEL if name == "label" else Reason.BAD_HEADER}
    assert problem.detail.isprintable()
    assert len(problem.detail) < 300
    if problem.reason is Reason.BAD_HEADER:
        assert f"ce_{name}" in problem.detail


@pytest.mark.parametrize("name", NAMES)
def test_repeated_header_is_refused(name: str) -> None:
    value = dict(headers(dataref="s3://a/b", geo="1,2", sha256="0" * 64))[f"ce_{name}"]
    assert reason([*headers(**{name: value}), (f"ce_{name}", value)]) is Reason.BAD_HEADER
    assert reason([*headers(**{name: value}), (f"ce_{name}", None)]) is Reason.BAD_HEADER


@pytest.mark.parametrize("name", NAMES)
def test_null_header_counts_as_missing(name: str) -> None:
    required = name in {"id", "source", "type", "time", "label"}
    assert reason(headers(**{name: None})) is (Reason.MISSING_HEADER if required else None)


def test_headers_that_the_contract_does_not_know_are_ignored() -> None:
    strange: list[Header] = [("", b"x"), ("ce_", b"\xff"), ("CE_ID", b"\0"), ("x" * 5000, None)]
    strange += [("traceparent", b"00-" + bytes(50_000))] * 200
    assert reason([*strange, *headers(), *strange]) is None


def row(key: bytes | None, value: bytes | None, found: list[Header]) -> dict[str, Any]:
    record = ConsumerRecord("images", 0, 0, 0, key, value, found or [])
    return ledger_rows([record], rules())[0]


@pytest.mark.parametrize("key", [None, b"", b"\xff\0", b"k" * 1_000_000])
def test_record_without_headers_is_a_row_too(key: bytes | None) -> None:
    for value in (None, b"", pictures.jpeg()):
        made = row(key, value, [])
        assert (made["verdict"], made["reason"]) == (Verdict.REJECTED, Reason.MISSING_HEADER)
        assert made["payload"] == value
        assert made["detail"] == "no ce_id, ce_source, ce_type, ce_time, ce_label"


def test_null_value_without_a_reference_is_empty() -> None:
    assert row(b"phone-1", None, headers(sha256=None))["reason"] == Reason.EMPTY


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2262-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        "0000-00-00T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-21T24:00:01Z", "2026-11-21T08:00:00+99:99",
        "２０２６-11-21T08:00:00Z", "2026-W47-6T08:00:00Z", "1795259733", "now", "2026-11-21T08:00:00Z\n",
        "2026-11-21T08:00:60Z", "2016-12-31T23:59:60+01:00", "2016-12-31T23:59:61Z", "2016-12-32T23:59:60Z",
    ],
)  # fmt: skip
def test_time_that_is_malformed_or_unreadable_from_a_table_is_refused(time: str) -> None:
    assert reason(headers(time=time)) is Reason.BAD_HEADER


@pytest.mark.parametrize(
    ("time", "microsecond"),
    [
        ("2016-12-31T23:59:60Z", 0),
        ("2016-12-31t23:59:60.25z", 250_000),
        ("2016-12-31T18:59:60-05:00", 0),
        ("2017-01-01T05:29:60+05:30", 0),
    ],
)
def test_leap_second_is_read_as_the_second_before_it(time: str, microsecond: int) -> None:
    found = parsed(headers(time=time))
    assert found.problem is None
    assert found.event_time == datetime(2016, 12, 31, 23, 59, 59, microsecond, tzinfo=UTC)


@pytest.mark.parametrize("place", ["52.52,13.405", "+52.520,13.405", "52.52, 013.405", " 52.5200 ,13.4050 "])
def test_place_is_two_decimal_numbers(place: str) -> None:
    found = parsed(headers(geo=place))
    assert (found.problem, found.geohash) == (None, "u33dc")


@pytest.mark.parametrize(
    "place",
    [
        "5_2.52,13.405", "1e1,1_0", "５２.５,１３", "٥٢,١٣", "52.52", "52.52,", "52,52,13", "52.52;13.405",
        "inf,0", "nan,nan", "90.000001,0", "0,-180.1", "--1,0", "9" * 400 + ",0", "52.52,13.405\u2003",
    ],
)  # fmt: skip
def test_place_of_anything_else_is_refused(place: str) -> None:
    assert reason(headers(geo=place)) is Reason.BAD_HEADER


def arrow(raw: list[Raw]) -> pa.RecordBatch:
    """Records as Spark's Kafka source hands them to Python."""
    columns = {
        "topic": pa.array(["images"] * len(raw)),
        "partition": pa.array([3] * len(raw), pa.int32()),
        "offset": pa.array(range(7, 7 + len(raw)), pa.int64()),
        "timestamp": pa.array([0] * len(raw), pa.timestamp("us", "UTC")),
        "key": pa.array([key for key, _, _ in raw], pa.binary()),
        "value": pa.array([value for _, value, _ in raw], pa.binary()),
        "headers": lists([found for _, _, found in raw]),
    }
    return pa.RecordBatch.from_pydict(columns)


def lists(found: list[Any]) -> pa.ListArray:
    """Headers of each record, as a column; null for None."""
    names = pa.array([name for each in found for name, _ in each or ()], pa.string())
    values = pa.array([value for each in found for _, value in each or ()], pa.binary())
    ends = [sum(len(each or ()) for each in found[:n]) for n in range(len(found) + 1)]
    pairs = pa.StructArray.from_arrays([names, values], ["key", "value"])
    mask = pa.array([each is None for each in found], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pairs, mask=mask)


FLOOD: list[Header] = [("", None)] * 300_000


def test_record_of_very_many_headers_is_rejected_without_using_memory() -> None:
    """A header needs 2 bytes in Kafka and 280 in Python: one record could fill the worker's memory."""
    most, picture = rules().ingest.max_headers, pictures.jpeg()
    late: list[Header] = [*headers(user="eve"), *[("ce_batch", b"x")] * 3]
    raw: list[Raw] = [(b"a", picture, headers()), (b"b", picture, FLOOD + late), (b"c", picture, headers())]
    batch = arrow(raw)
    ledger_rows(read_records(arrow(raw[:1]), rules().ingest), rules())  # loads modules
    tracemalloc.start()
    try:
        rows = ledger_rows(read_records(batch, rules().ingest), rules())
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()

    assert [made["verdict"] for made in rows] == [Verdict.ACCEPTED, Verdict.REJECTED, Verdict.ACCEPTED]
    bad = rows[1]
    assert (bad["topic"], bad["partition"], bad["offset"], bad["payload"]) == ("images", 3, 8, picture)
    assert bad["reason"] is Reason.BAD_HEADER
    assert bad["detail"] == f"{len(FLOOD) + len(late)} headers, at most {most} are allowed"
    assert bad["user"] == "eve"
    kept = [(each["key"], each["value"]) for each in bad["headers"]]
    own = [header for header in late if header[0].startswith("ce_")][:-2]  # two of a name are kept
    assert kept == FLOOD[: most - len(own)] + own
    again = ledger_rows(read_records(batch, rules().ingest), rules())
    assert [made["headers"] for made in again[1:2]] == [bad["headers"]]


def test_record_time_that_is_unreadable_from_a_table_is_dropped() -> None:
    """In a topic with CreateTime timestamps the producer sets the time."""
    good = 1_795_259_733_000_000
    stamps = pa.array([-(10**17), -1, 0, good, 2**62, None], pa.timestamp("us", "UTC"))
    batch = arrow([(None, None, [])] * len(stamps)).set_column(3, "timestamp", stamps)
    assert [record.time for record in read_records(batch, rules().ingest)] == [
        None,
        None,
        0,
        good,
        None,
        None,
    ]


def test_maximum_number_of_headers_is_accepted() -> None:
    most = rules().ingest.max_headers
    full = FLOOD[: most - len(headers())] + headers()
    rows = ledger_rows(read_records(arrow([(b"a", pictures.jpeg(), full)]), rules().ingest), rules())
    assert rows[0]["verdict"] == Verdict.ACCEPTED
    rows = ledger_rows(
        read_records(arrow([(b"a", pictures.jpeg(), [*full, ("", None)])]), rules().ingest), rules()
    )
    assert rows[0]["detail"] == f"{most + 1} headers, at most {most} are allowed"


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_slice_of_a_batch_has_only_its_own_headers(most: int) -> None:
    found: list[Any] = [FLOOD, [("a", b"1"), ("b", None)], None, [], [("c", b"2")] * 4, [("d", b"3")], FLOOD]
    column = lists(found)
    limits = rules().ingest.model_copy(update={"max_headers": most})
    for start in range(len(found)):
        for stop in range(start, len(found)):
            part = column.slice(start, stop - start)
            batch = arrow([(None, None, [])] * len(part)).set_column(6, "headers", part)
            got = read_records(batch, limits)
            assert [record.headers for record in got] == [(each or [])[:most] for each in found[start:stop]]
            assert [record.omitted for record in got] == [
                max(len(each or ()) - most, 0) for each in found[start:stop]
            ]


def test_headers_behind_a_null_list_are_ignored() -> None:
    """Arrow allows a null list to span values."""
    plain = lists([[("a", b"1")], [("b", b"2")], [("c", b"3")]])
    column = pa.ListArray.from_arrays(plain.offsets, plain.values, mask=pa.array([False, True, False]))
    batch = arrow([(None, None, [])] * 3).set_column(6, "headers", column)
    got = read_records(batch, rules().ingest)
    assert [record.headers for record in got] == [[("a", b"1")], [], [("c", b"3")]]


@pytest.mark.services
def test_headers_of_strangers_can_be_read_back_from_the_tables(
    spark: SparkSession, settings: Settings, kafka: Kafka, tmp_path: Any
) -> None:
    """Names in every script and extreme times pass through Kafka, Spark, Delta and back to Python."""
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    lake = Lake(root=str(tmp_path / "lake"))
    own = settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})
    named = [upload(number, user=name, batch=name) for number, name in enumerate(SCRIPTS.values())]
    times = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2261, 12, 31, tzinfo=UTC)]
    odd = [upload(50 + number, time=time) for number, time in enumerate(times)]
    bare: list[Raw] = [
        (b"", None, []),
        (b"\xff\0", b"\xff\0", [("", b"\0"), ("ce_id", b""), ("ce_user", b"\xff")]),
    ]
    refused = [
        upload(60, time=datetime(1, 1, 1, tzinfo=UTC)),
        upload(61, time=datetime(9999, 1, 1, tzinfo=UTC)),
    ]
    many: Raw = (b"phone-1", pictures.jpeg(), [("", b"")] * 5000 + headers(user="eve"))
    send(kafka, [*named, *odd, *bare, *refused, many])
    report = IngestReport()
    Ingestion(spark, own, kafka.bootstrap).once(report)

    assert report.rejected == {Reason.MISSING_HEADER: 2, Reason.BAD_HEADER: 3}
    rows = tables.read(spark, lake, Table.UPLOADS).where("verdict = 'accepted'").collect()
    assert {row.user for row in rows} == {*SCRIPTS.values(), *(each.user for each in odd)}
    # PySpark gives times without a zone, in the process's own.
    assert set(times) <= {row.event_time.astimezone(UTC) for row in rows}
    assert len(tables.read(spark, lake, Table.UPLOADS).toPandas()) == len(named) + 7
    (flooded,) = tables.read(spark, lake, Table.UPLOADS).where(is_of_user("eve")).collect()
    assert len(flooded.headers) == ingest.max_headers
