"""`hub report` with arguments that contradict each other."""

import pytest

from jobs.cli.command import run
from jobs.report import main


def test_a_page_on_standard_output_is_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(main, ["digits-1", "--to", "-", "--json"])
    shown = capsys.readouterr()
    assert (left.value.code, shown.out) == (2, "")
    assert shown.err == "hub report: error: --to - prints the page, so it cannot be used with --json\n"
