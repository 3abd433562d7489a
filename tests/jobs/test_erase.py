"""`hub erase` with wrong arguments: a one-line error before anything is started."""

import pytest

from jobs.cli.command import run
from jobs.erase import main


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "--user, or --asked"),
        ("--user= ", "--user, or --asked"),
        ("--user anna --asked", "--user, or --asked"),
        ("--asked --dry-run", "--dry-run needs --user"),
    ],
)
def test_a_user_or_those_who_asked_are_erased(
    arguments: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run(main, arguments.split())
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
