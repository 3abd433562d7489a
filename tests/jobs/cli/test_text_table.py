"""Text tables: the same text on a terminal, in a file and in the log of a build."""

import pytest

from jobs.cli.text_table import format_table


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_INTERACTIVE", "NO_COLOR"])
def test_a_table_has_no_escape_sequences_whatever_the_environment_says(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    heading, line, row = format_table(["label", "n"], [["cat", 7]]).splitlines()
    assert (heading.split(), set(line.strip()), row.split()) == (["label", "n"], {"─"}, ["cat", "7"])
