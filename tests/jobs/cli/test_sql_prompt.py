"""The prompt of `hub sql`: lines become statements, Ctrl-C drops one, the history is kept."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cli import termination
from jobs.cli.sql_prompt import SqlPrompt
from lake.errors import BadQuery
from lake.sql.statements import Statement

NAMES = {"samples", "labels", "label", "image_id", "metrics", "brightness"}


class Typed:
    """Lines that people type; an exception is raised in place of a line. Then the input ends."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines: Iterator[str | type[BaseException]] = iter(lines)
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        line = next(self._lines, EOFError)
        if isinstance(line, str):
            return line
        raise line


def run(
    typed: Typed, history: Path, monkeypatch: pytest.MonkeyPatch, fails: type[BaseException] | None = None
) -> tuple[list[str], int]:
    """The statements that were executed, and how often Spark's jobs were cancelled."""
    executed: list[str] = []
    cancelled: list[bool] = []

    def execute(statement: Statement) -> int:
        executed.append(statement.text)
        if fails and statement.text == "fail":
            raise fails("no such column\nat line 1")
        return len(executed)

    monkeypatch.setattr("builtins.input", typed)
    SqlPrompt(NAMES, history).run(execute, lambda: cancelled.append(True))
    return executed, len(cancelled)


def test_a_statement_may_have_several_lines_and_a_line_several_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = Typed("SELECT ';'", "  AS a; SELECT 2; -- two", "", ";")
    executed, _ = run(typed, tmp_path / "history", monkeypatch)
    assert executed == ["SELECT ';'\n  AS a", "SELECT 2"]
    assert typed.prompts[:3] == ["hub> ", "...> ", "hub> "]
    printed = capsys.readouterr().out
    assert "1 row in 0.0" in printed and "2 rows in 0.0" in printed


@pytest.mark.parametrize("word", ["exit", "quit;", "EXIT"])
def test_exit_ends(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(Typed("SELECT 1;", word, "SELECT 2;"), tmp_path / "h", monkeypatch)[0] == ["SELECT 1"]


def test_ctrl_c_drops_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = Typed("SELECT 1", KeyboardInterrupt, "SELECT 2;")
    assert run(typed, tmp_path / "h", monkeypatch) == (["SELECT 2"], 0)


def test_an_error_is_one_line_and_the_prompt_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Typed("fail; SELECT 2;"), tmp_path / "h", monkeypatch, BadQuery)[0] == ["fail", "SELECT 2"]
    assert capsys.readouterr().err == "error: no such column at line 1\n"


def test_ctrl_c_stops_a_query_in_spark_and_the_prompt_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = Typed("fail;", "SELECT 2;")
    assert run(typed, tmp_path / "h", monkeypatch, KeyboardInterrupt) == (["fail", "SELECT 2"], 1)


@pytest.mark.parametrize("typed", [Typed("fail;", "SELECT 2;"), Typed(KeyboardInterrupt, "SELECT 2;")])
def test_sigterm_ends_the_prompt(typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination, "received", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        run(typed, tmp_path / "h", monkeypatch, KeyboardInterrupt)


@pytest.mark.parametrize(
    ("typed", "completed"), [("sam", ["samples"]), ("LAB", ["label", "labels"]), ("dis", ["DISTINCT"])]
)
def test_names_of_views_columns_and_keywords_are_completed(
    typed: str, completed: list[str], tmp_path: Path
) -> None:
    prompt = SqlPrompt(NAMES, tmp_path / "h")
    found = [prompt.complete(typed, state) for state in range(len(completed) + 1)]
    assert found == [*completed, None]


def test_the_history_is_private_and_kept_for_the_next_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readline = pytest.importorskip("readline")
    history = tmp_path / "logs" / "history"
    run(Typed(), history, monkeypatch)
    readline.clear_history()
    readline.add_history("SELECT 1;")
    readline.write_history_file(history)
    readline.clear_history()
    run(Typed(), history, monkeypatch)
    assert readline.get_history_item(1) == "SELECT 1;"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
