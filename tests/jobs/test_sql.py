"""`hub sql` as people run it: from a shell in a folder of their own, from a file, and at its prompt."""

import json
import os
import pty
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conf.sections import Lake
from lake import tables
from lake.table import Table
from tests.support.commands import hub_command
from tests.support.machines import other_project
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from tests.support.commands import Hub

EXAMPLE = 'such as "SELECT count(*) FROM samples"'
EVENT = datetime(2026, 11, 22, 12, 35, 57, 250_000, UTC)


@pytest.fixture(scope="module")
def lake(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with two labels and an upload."""
    root = tmp_path_factory.mktemp("sql")
    own = Lake(root=str(root))
    tables.create(spark, own)
    tables.upsert(spark, own, Table.LABELS, [{"label": "cat"}, {"label": "dog"}], "label")
    upload = [{"event_time": EVENT, "label": "cat", "verdict": "accepted", "device": "phone-1"}]
    tables.upsert(spark, own, Table.UPLOADS, upload, "label")
    return root


@pytest.mark.services
def test_only_the_line_of_an_error_is_printed_and_what_came_before_it(
    hub: "Hub", lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in another time zone and language, and in the folder of another project with another Spark."""
    monkeypatch.chdir(other_project(tmp_path / "project"))
    script = tmp_path / "queries.sql"
    script.write_text(
        "-- times; of an upload\n"
        "SELECT event_time, date_format(event_time, 'HH:mm') AS said, upper('i') AS upper FROM uploads;\n"
        "SELECT label, ';' AS text FROM labels ORDER BY label;\n\n"
        "SELECT labell FROM labels"
    )
    done = hub(
        "sql", "--file", str(script), "--format", "json", HUB__LAKE__ROOT=str(lake), TZ="Asia/Kolkata",
        LC_ALL="tr_TR.UTF-8", SPARK_HOME="/opt/spark-3", PYSPARK_PYTHON="/bin/false", http_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    assert done.status == 2
    # Spark names suggestions that are equally near in any order.
    suggestions = re.search(r"\[(`label`.*?)\]\. SQLSTATE", done.stderr)
    assert suggestions is not None
    named = suggestions[1].replace("`", "").split(", ")
    assert sorted(named) == ["accepted", "display_name", "label", "parent", "ready"]
    cause = (
        "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column, variable, or function parameter with name `labell` "
    )
    assert done.stderr.startswith(f"hub sql: error: {script}, line 5: {cause}cannot be resolved.")
    views = (
        "batches, clusters, columns, datasets, decisions, devices, duplicate_pairs, embeddings, "
        "erased_splits, group_merges, groups, labels, models, samples, uploads, watches"
    )
    assert done.stderr.endswith(f"; line 1 pos 7 (views: {views})\n") and done.stderr.count("\n") == 1
    first, _, second = done.stdout.splitlines()
    assert json.loads(first) == [{"event_time": "2026-11-22 12:35:57.25Z", "said": "12:35", "upper": "I"}]
    assert json.loads(second) == [{"label": "cat", "text": ";"}, {"label": "dog", "text": ";"}]


@pytest.mark.services
def test_the_prompt_completes_names_times_statements_and_starts_spark_once(
    settings: "Settings", lake: Path, tmp_path: Path
) -> None:
    screen, terminal = pty.openpty()
    environment = os.environ | {
        "HUB__LAKE__ROOT": str(lake), "HUB__LOGS__DIR": str(tmp_path), "TERM": "dumb", "COLUMNS": "160",
    }  # fmt: skip
    shown: list[bytes] = []

    def shows(text: str) -> bool:
        return wait_until(lambda: text in _read(screen, shown), 240)

    process = subprocess.Popen(
        hub_command("sql"), stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    try:
        os.close(terminal)
        assert shows("A statement ends with a semicolon") and shows("hub> ")
        os.write(screen, b"SELECT count(*) AS n FROM samp\t;\n")
        assert shows("1 row in ")
        assert "FROM samples" in _read(screen, shown)
        os.write(screen, b"SELECT labell FROM labels;\n")
        assert shows("error: [UNRESOLVED_COLUMN")
        os.write(screen, b"SELECT label\nFROM labels;\n")
        assert shows("2 rows in ")
        os.write(screen, b"\x04")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        text = _read(screen, shown)
        os.close(screen)
    assert (tmp_path / "sql_history").read_text().splitlines()[-2:] == ["SELECT label", "FROM labels;"]
    assert not [line for line in text.splitlines() if line.startswith("{")], "PySpark's log"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sql", "SELECT 1", "-f", "a.sql"], "give a statement or --file, not both"),
        (
            ["sql", " ; -- nothing"],
            'the statement is empty: give one, such as "SELECT count(*) FROM samples"',
        ),
        (["sql", "-f", "no-such.sql"], "--file no-such.sql: No such file or directory"),
        (["sql", "-f", "/bin/true"], "--file /bin/true: this is not a text in UTF-8"),
    ],
)
def test_without_a_statement_no_spark_is_started(hub: "Hub", arguments: list[str], message: str) -> None:
    done = hub(*arguments, HUB__SPARK__MASTER="spark://127.0.0.1:1")
    assert (done.status, done.stdout, done.stderr) == (2, "", f"hub sql: error: {message}\n")


def test_standard_input_is_a_file(settings: "Settings") -> None:
    done = subprocess.run(
        hub_command("sql"), input="\n-- nothing", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("hub sql: error: standard input is empty: give one")


def _read(screen: int, shown: list[bytes]) -> str:
    """All that a terminal has shown so far."""
    os.set_blocking(screen, False)
    try:
        while content := os.read(screen, 65536):
            shown.append(content)
    except (BlockingIOError, OSError):
        pass
    return b"".join(shown).decode().replace("\r", "")
