"""The prompt of `hub sql`: statements typed one after another, with history and completion."""

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import click

from conf.errors import HubError
from jobs.cli import termination
from lake.sql.statements import Statement, split

_NAME, _CONTINUED = "hub> ", "...> "
_HISTORY_LINES = 2000
_NOT_IN_WORDS = " \t\n`~!@#$%^&*()-=+[{]}\\|;:'\",<>/?."
_KEYWORDS = (
    "SELECT DISTINCT FROM WHERE GROUP BY HAVING ORDER LIMIT JOIN LEFT USING UNION ALL WITH AS AND OR NOT "
    "NULL CASE WHEN THEN ELSE END BETWEEN LIKE DESCRIBE SHOW TABLES count min max avg sum explode"
)
HELP = (
    "A statement ends with a semicolon. Tab completes names of views and columns, Ctrl-C drops a statement "
    "or stops a query, Ctrl-D or exit ends. SHOW TABLES; lists the views, DESCRIBE samples; its columns."
)


class SqlPrompt:
    """Reads statements until the input ends.

    Args:
        names: of views and columns, to complete.
        history: file that keeps the lines typed.
    """

    def __init__(self, names: Iterable[str], history: Path) -> None:
        self._names = sorted({*names, *_KEYWORDS.split()}, key=lambda name: (name.isupper(), name))
        self._history = history
        self._matches: list[str] = []

    def run(self, execute: Callable[[Statement], int], cancel: Callable[[], None]) -> None:
        """Execute each statement, and say how long it took.

        Args:
            execute: prints the rows of a statement and returns their number; the error is one line.
            cancel: stops what Spark still does for a statement that Ctrl-C has interrupted.
        """
        self._start_readline()
        try:
            click.echo(HELP)
            while (statements := self._read()) is not None:
                for statement in statements:
                    self._execute(statement, execute, cancel)
        finally:
            self._save_history()

    def complete(self, text: str, state: int) -> str | None:
        """Implement a completer of `readline`: the state-th name that begins with the text."""
        if state == 0:
            self._matches = [name for name in self._names if name.lower().startswith(text.lower())]
        return self._matches[state] if state < len(self._matches) else None

    def _read(self) -> list[Statement] | None:
        """Read lines until a statement has ended; None at the end of the input."""
        typed = ""
        while True:
            try:
                line = input(_CONTINUED if typed.strip() else _NAME)
            except EOFError:
                click.echo()
                return None
            except KeyboardInterrupt:
                self._unless_terminated()
                click.echo()
                return []
            if not typed.strip() and line.strip().rstrip(";").lower() in {"exit", "quit"}:
                return None
            typed += line + "\n"
            statements, rest = split(typed)
            if not rest:
                return statements

    def _execute(
        self, statement: Statement, execute: Callable[[Statement], int], cancel: Callable[[], None]
    ) -> None:
        began = time.monotonic()
        try:
            rows = execute(statement)
        except KeyboardInterrupt:
            cancel()
            self._unless_terminated()
            click.echo("\nstopped")
        except HubError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
        else:
            click.echo(f"{rows:,} row{'' if rows == 1 else 's'} in {time.monotonic() - began:.2f} s")

    @staticmethod
    def _unless_terminated() -> None:
        """Ctrl-C ends a statement, but SIGTERM ends the command."""
        if termination.received():
            raise KeyboardInterrupt

    def _start_readline(self) -> None:
        with suppress(ImportError):  # Python can be built without it
            import readline

            with suppress(OSError):
                readline.read_history_file(self._history)
            readline.set_history_length(_HISTORY_LINES)
            readline.set_completer_delims(_NOT_IN_WORDS)
            readline.set_completer(self.complete)
            libedit = "libedit" in (readline.__doc__ or "")
            readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")

    def _save_history(self) -> None:
        if "readline" in sys.modules:
            import readline

            with suppress(OSError):
                self._history.parent.mkdir(parents=True, exist_ok=True)
                self._history.touch(mode=0o600)
                readline.write_history_file(self._history)
