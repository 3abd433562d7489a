"""What benchmarks print: their results, and nothing of the libraries."""

import subprocess
import sys

import pytest

from tests.support.commands import ROOT

_IMPORT = "from models.runs.launch import import_tensorflowonspark as imported; nodes, _ = imported()"
_LOG = "import logging; logging.getLogger('py4j').info('loud'); nodes.logger.info('loud')"


@pytest.mark.parametrize(
    ("before", "loud"),
    [("pass", True), ("from benchmarks.ground import quiet_libraries; quiet_libraries()", False)],
    ids=["as the library comes", "in a benchmark"],
)
def test_a_training_in_a_benchmark_shows_no_info_of_libraries(before: str, loud: bool) -> None:
    script = "\n".join([before, _IMPORT, _LOG])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ("INFO" in done.stderr) == loud, done.stderr
