"""Statements in a text: semicolons in quotes and comments end none."""

import pytest

from lake.sql.statements import split, split_all


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ;; \n-- nothing\n/* nothing */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 'a;b', \"c;d\", `e;f`; SELECT 2", ["SELECT 'a;b', \"c;d\", `e;f`", "SELECT 2"]),
        ("SELECT 'it''s;', 'it\\'s;'; SELECT 2", ["SELECT 'it''s;', 'it\\'s;'", "SELECT 2"]),
        ("SELECT 'C:\\\\'; SELECT 2", ["SELECT 'C:\\\\'", "SELECT 2"]),
        ("SELECT r'C:\\'; SELECT 2", ["SELECT r'C:\\'", "SELECT 2"]),
        ("SELECT 1 -- it's; one\n; SELECT 2", ["SELECT 1 -- it's; one", "SELECT 2"]),
        ("/* it's; /* nested; */ */ SELECT 1; SELECT 2", ["/* it's; /* nested; */ */ SELECT 1", "SELECT 2"]),
        ("SELECT 4 - 1 / 2; SELECT 'open;", ["SELECT 4 - 1 / 2", "SELECT 'open;"]),
    ],
)
def test_text_is_split_at_semicolons_outside_of_quotes_and_comments(text: str, statements: list[str]) -> None:
    assert [statement.text for statement in split_all(text)] == statements


def test_a_statement_knows_its_line() -> None:
    assert [statement.line for statement in split_all("-- a\n\nSELECT 1;\n\nSELECT\n2")] == [1, 5]


@pytest.mark.parametrize("rest", ["SELECT 2", "SELECT 'a;", "/* b;", "SELECT /* c; */"])
def test_a_statement_that_has_not_ended_is_the_rest(rest: str) -> None:
    statements, found = split(f"SELECT 1;{rest}")
    assert ([statement.text for statement in statements], found) == (["SELECT 1"], rest)
    assert split("SELECT 1; \n-- done\n")[1] == ""
