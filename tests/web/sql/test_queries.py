"""Statements of people: answers with their types, and 100 hostile ones that reach nothing and end in time."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.web.sql.hostile import EXHAUSTING, STATEMENTS
from web.data.mirror import Mirror
from web.problems.problem import Problem
from web.sql.queries import SECONDS, Queries

_DEAD_WITHIN = 2.5
_RESIDENT = 512 * 2**20


@pytest.fixture
def queries(mirror: Mirror, tmp_path: Path) -> Queries:
    return Queries(mirror, tmp_path)


def test_an_answer_has_columns_types_and_rows(queries: Queries) -> None:
    answer = queries.run(
        "SELECT label, count(*) AS images, min(event_time) FROM uploads GROUP BY ALL ORDER BY 1"
    )
    assert answer.error == ""
    assert [(column.name, column.type) for column in answer.columns[:2]] == [
        ("label", "VARCHAR"), ("images", "BIGINT"),
    ]  # fmt: skip
    assert answer.rows[0] == ("cat", 17, "2026-11-21 08:00:00")
    assert not answer.more


def test_views_of_hub_sql_are_there(queries: Queries) -> None:
    assert queries.run("SELECT submitted, accepted, rejected FROM batches").rows == ((33, 30, 3),)
    assert queries.run("SELECT count(*) FROM devices").rows == ((7,),)


def test_rows_are_capped_and_values_are_plain(queries: Queries) -> None:
    answer = queries.run("SELECT * FROM range(5000)", rows=10)
    assert (len(answer.rows), answer.more) == (10, True)
    values = queries.run(
        "SELECT NULL, true, 1.5, 2::BIGINT ** 62, 'x'::BLOB, [1, 2], repeat('é', 1000), 'nan'::FLOAT"
    )
    null, true, half, large, blob, both, text, nan = values.rows[0]
    assert (null, true, half, blob, both, nan) == (None, True, 1.5, "<1 bytes>", "[1, 2]", "nan")
    assert len(text) == 501 and float(large) == 2.0**62


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing", "nothing"),
        ("", "0 statements"),
        ("SELECT 1; SELECT 2", "2 statements: write one"),
    ],
)
def test_a_wrong_statement_is_told(queries: Queries, statement: str, error: str) -> None:
    assert error in queries.run(statement).error


def test_a_query_over_many_groups_is_answered_although_its_allocator_looks_for_files(
    queries: Queries,
) -> None:
    many = queries.run("SELECT count(*) FROM (SELECT DISTINCT hash(range) FROM range(2000000))")
    assert (many.error, many.rows) == ("", ((2_000_000,),))


def test_what_is_not_allowed_is_told(queries: Queries) -> None:
    assert "disabled by configuration" in queries.run("SELECT * FROM read_text('/etc/passwd')").error
    assert "only queries are run here" in queries.run("COPY (SELECT 1) TO '/tmp/x.csv'").error


def test_a_statement_that_is_too_long_is_refused(queries: Queries) -> None:
    with pytest.raises(Problem, match="more than 20,000 characters"):
        queries.run("SELECT " + "1" * 20_000)


def test_new_rows_are_seen_after_a_moment(queries: Queries, mirror: Mirror, tmp_path: Path) -> None:
    first = mirror.snapshot(tmp_path)
    assert mirror.snapshot(tmp_path) == first, "a copy is made for a new version only"


def test_there_are_a_hundred_hostile_statements() -> None:
    assert len(set(STATEMENTS)) >= 100


@pytest.mark.faults
def test_hostile_statements_reach_nothing_and_end_in_time(
    queries: Queries, mirror: Mirror, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    rows = mirror.rows("SELECT count(*) AS n FROM uploads")
    with _listener() as (port, calls):
        for template in STATEMENTS:
            statement = template.replace("{port}", str(port)).replace("{folder}", str(outside))
            with _watched_children() as watched:
                begun = time.monotonic()
                answer = queries.run(statement)
                taken = answer.seconds
                assert time.monotonic() - begun < 30
            assert taken < _DEAD_WITHIN, f"{statement[:80]} took {taken:.2f} s"
            assert watched.resident < _RESIDENT, f"{statement[:80]} used {watched.resident >> 20} MB"
            if template not in EXHAUSTING:
                harmless = not answer.rows or all("root:" not in str(row) for row in answer.rows)
                assert answer.error or harmless, statement
                assert answer.error, f"{statement[:80]} answered {answer.rows[:3]}"
        assert calls == []
    assert list(outside.iterdir()) == []
    assert mirror.rows("SELECT count(*) AS n FROM uploads") == rows
    assert _children() == set()
    assert SECONDS < _DEAD_WITHIN


@contextmanager
def _listener() -> Iterator[tuple[int, list[str]]]:
    calls: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, calls
    finally:
        server.shutdown()
        server.server_close()


class _Watched:
    resident = 0


@contextmanager
def _watched_children() -> Iterator[_Watched]:
    """Watch the largest resident size of the sandbox processes."""
    watched, stop = _Watched(), threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            for pid in _children():
                with suppress(OSError, IndexError, ValueError):
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    watched.resident = max(watched.resident, pages * os.sysconf("SC_PAGE_SIZE"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watched
    finally:
        stop.set()
        thread.join()


def _children() -> set[int]:
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            for pid in (thread / "children").read_text().split():
                with suppress(OSError):
                    if b"web.sql.sandbox" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.add(int(pid))
    return found
