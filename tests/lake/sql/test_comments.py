"""Every table and column has a meaning. Without Spark; test_queries.py checks the other views."""

from lake.schemas import SCHEMAS
from lake.sql.comments import COLUMNS, VIEWS


def test_every_table_and_column_has_a_meaning() -> None:
    assert {table for table in SCHEMAS if not VIEWS.get(table)} == set()
    wrong = {table: set(schema.names) ^ set(COLUMNS.get(table, ())) for table, schema in SCHEMAS.items()}
    assert {table: names for table, names in wrong.items() if names} == {}, "see lake/sql/comments.py"
    assert set(VIEWS) == set(COLUMNS)
