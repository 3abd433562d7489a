"""The process that runs one statement: `python -m web.sql.sandbox DATABASE`.

DuckDB calls untrusted SQL unsafe by design. So the statement runs where nothing can be reached: the database
is a copy, opened read-only; DuckDB may use no files, no network, no extensions and no Python objects, and its
configuration is locked. Then the kernel takes away what the process does not need, as for the decoder of
pictures (`streaming.isolate.seccomp`), and limits memory and CPU time. The parent kills it at its deadline.

Standard input is one JSON object after the line `ready`; standard output is one JSON object.
Source: https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
"""

import json
import math
import resource
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from streaming.isolate import seccomp

MEMORY_BYTES = 480 * 2**20  # resident, at most
_DUCKDB_MEMORY = "256MB"  # beyond it a statement fails with a message; there is no file to spill to
_CPU_SECONDS = 4
_CELL = 500  # characters
_ANSWER = 4 * 2**20  # characters of all cells
_EXACT = 2**53  # larger integers would lose digits in JSON readers
_DIGITS = 15  # of decimals that are exact as numbers of JSON

_CONFIG = {
    "threads": 1,
    "memory_limit": _DUCKDB_MEMORY,
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
_QUERIES = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# After the database is open.
_LOCK = ("SET enable_external_access = false", "SET lock_configuration = true")

# Python and DuckDB import modules when they first meet a type; later they can open no file.
_EVERY_TYPE = (
    "SELECT 1.5::DECIMAL(9,2), uuid(), DATE '2026-01-01', TIME '12:00', TIMESTAMP '2026-01-01', "
    "TIMESTAMPTZ '2026-01-01 00:00:00+00', INTERVAL 1 DAY, 'x'::BLOB, [1], {'a': 1}, MAP {'a': 1}, "
    "170141183460469231731687303715884105727::HUGEINT, '101'::BIT, 'a'::ENUM('a'), NULL, true, 1.5::FLOAT"
)


def main(database: str) -> None:
    """Run the statement that comes on standard input."""
    connection = duckdb.connect(database, read_only=True, config=_CONFIG)
    for value in connection.execute(_EVERY_TYPE).fetchone() or ():
        _cell(value)
    for broken in ("SELECT nothing", "SELEC", "SELECT 'x'::INTEGER"):  # messages of errors, too
        with suppress(duckdb.Error):
            connection.execute(broken)
    for statement in _LOCK:
        connection.execute(statement)
    request_line = sys.stdin
    _limit()
    seccomp.install(seccomp.READ_AT, seccomp.FILES)
    print("ready", flush=True)
    request: dict[str, Any] = json.loads(request_line.readline())
    sys.stdout.write(json.dumps(_answer(connection, request["statement"], request["rows"])))
    sys.stdout.flush()


def _answer(connection: Any, text: str, limit: int) -> dict[str, Any]:
    try:
        statements = connection.extract_statements(text)
        if len(statements) != 1:
            return {"error": f"{len(statements)} statements: write one"}
        if statements[0].type not in _QUERIES:
            return {"error": "only queries are run here: SELECT, DESCRIBE, SUMMARIZE, EXPLAIN"}
        cursor = connection.execute(statements[0])
        columns = [[str(column[0]), str(column[1])] for column in cursor.description or ()]
        rows = cursor.fetchmany(limit + 1)
    except duckdb.Error as error:
        return {"error": str(error)[:2000]}
    except MemoryError:
        return {"error": "the statement needs too much memory"}
    cells, used = [], 0
    for row in rows[:limit]:
        cells.append([_cell(value) for value in row])
        used += sum(len(str(cell)) for cell in cells[-1])
        if used > _ANSWER:
            break
    return {"columns": columns, "rows": cells, "more": len(cells) < len(rows)}


def _cell(value: object) -> object:
    """A value for JSON: numbers stay numbers, everything else is text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _EXACT:
        return value
    if isinstance(value, Decimal) and len(value.as_tuple().digits) <= _DIGITS:
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value):,} bytes>"
    text = str(value)
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"


def _limit() -> None:
    """Limit what may be resident: as many bytes of address space more as there are left."""
    pages = Path("/proc/self/statm").read_text().split()
    size, resident = (int(count) * resource.getpagesize() for count in pages[:2])
    allowed = size + max(0, MEMORY_BYTES - resident)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


if __name__ == "__main__":
    main(sys.argv[1])
