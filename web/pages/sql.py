"""The SQL page: a statement, its rows as a table, as CSV, or as a chart."""

import csv
import io
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from web.data.mirror import Mirror
from web.pages.rendering import render
from web.problems.problem import Problem
from web.resources.dependencies import Shared, Trainer
from web.sql import chart
from web.sql.queries import ROWS, SECONDS

router = APIRouter()

_CSV_ROWS = 10_000
_START = """SELECT label, count(*) AS images, count(DISTINCT device) AS phones
FROM samples
GROUP BY label
ORDER BY images DESC"""


@dataclass(frozen=True)
class TableColumns:
    """A table or view that statements may name, with its columns and their types."""

    name: str
    columns: tuple[tuple[str, str], ...]


@router.get("/sql")
def show(request: Request, shared: Shared, who: Trainer, q: str | None = None) -> HTMLResponse:
    """The page; with `?q=` the answer to the statement, so that it can be bookmarked and sent to others."""
    answer = None
    if q:
        _refuse_other_sites(request)
        answer = shared.queries.run(q)
    return render(
        request, who, "sql.html",
        statement=_START if q is None else q, answer=answer,
        chart=chart.bars(answer) if answer else None, sizes=chart,
        tables=_tables(shared.mirror), limit=ROWS, seconds=SECONDS,
    )  # fmt: skip


@router.get("/sql.csv")
def download(request: Request, shared: Shared, who: Trainer, q: str) -> Response:
    """The answer as CSV."""
    _refuse_other_sites(request)
    answer = shared.queries.run(q, _CSV_ROWS)
    if answer.error:
        raise Problem(422, answer.error, "bad_statement")
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(column.name for column in answer.columns)
    writer.writerows([_harmless(value) for value in row] for row in answer.rows)
    headers = {"Content-Disposition": 'attachment; filename="answer.csv"'}
    return Response(output.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _refuse_other_sites(request: Request) -> None:
    """A link or a picture of another site must not start a statement."""
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise Problem(403, "another site has sent this statement: copy it into the page if you trust it")


def _harmless(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe. Source: OWASP, CSV Injection."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _tables(mirror: Mirror) -> list[TableColumns]:
    rows = mirror.rows(
        """SELECT table_name AS name,
            list({'n': column_name, 't': data_type} ORDER BY column_index) AS columns
        FROM duckdb_columns() WHERE NOT internal AND table_name <> 'files'
            AND column_name NOT IN ('file_id', 'file_row')
        GROUP BY table_name ORDER BY table_name"""
    )
    return [TableColumns(row["name"], tuple((c["n"], c["t"]) for c in row["columns"])) for row in rows]
