"""Splits text into SQL statements, which end at a semicolon outside of quotes and comments."""

import re
from dataclasses import dataclass

# What hides a semicolon, and the semicolon. A backslash escapes a quote except in raw strings (r'…'); of a
# doubled quote each half ends and begins a string.
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*) | (?P<nested>/\*) | (?P<end>;)
        | (?P<text>\b[rR]'[^']*' | \b[rR]"[^"]*" | '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `[^`]*` )
        | (?P<open>['"`]) | (?P<word>[^\s;'"`/-]+ | [/-])""",
    re.DOTALL | re.VERBOSE,
)
_NESTED = re.compile(r"/\*|\*/")  # comments in brackets can be nested


@dataclass(frozen=True)
class Statement:
    """A statement without its semicolon.

    Args:
        text: of the statement.
        line: number of the line where it begins, from 1.
    """

    text: str
    line: int


def split(text: str) -> tuple[list[Statement], str]:
    """Split text into the statements that have ended, and the rest, which is empty after the last of them.

    Statements of nothing but comments are left out.
    """
    statements, start, position, blank = [], 0, 0, True
    while token := _TOKEN.search(text, position):
        position = token.end()
        if token.lastgroup == "end":
            if not blank:
                statements.append(_statement(text, start, token.start()))
            start, blank = position, True
        elif token.lastgroup == "nested":
            position = _end_of_comment(text, token.start())
        elif token.lastgroup != "comment":
            blank = False
        if token.lastgroup == "open" or position > len(text):  # a quote or a comment without its end
            return statements, text[start:]
    return statements, "" if blank else text[start:]


def _end_of_comment(text: str, start: int) -> int:
    """The position after a comment in brackets; beyond the text if it does not end."""
    depth, position = 0, start
    while bracket := _NESTED.search(text, position):
        position = bracket.end()
        depth += 1 if bracket[0] == "/*" else -1
        if not depth:
            return position
    return len(text) + 1


def split_all(text: str) -> list[Statement]:
    """Split text into statements; the last one needs no semicolon."""
    statements, rest = split(text)
    return [*statements, _statement(text, len(text) - len(rest), len(text))] if rest else statements


def _statement(text: str, start: int, end: int) -> Statement:
    found = text[start:end]
    begin = start + len(found) - len(found.lstrip())
    return Statement(found.strip(), 1 + text.count("\n", 0, begin))
