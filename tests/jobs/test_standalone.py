"""Training with spark-submit on a standalone cluster whose worker offers (simulated) GPUs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conf.settings import Settings
from tests.support import tiny
from tests.support.clusters import standalone
from tests.support.clusters.standalone import SPARK
from tests.support.commands import ROOT

pytestmark = pytest.mark.faults

GPUS = '#!/bin/sh\necho \'{"name": "gpu", "addresses": ["5", "7"]}\'\n'


@contextmanager
def with_gpus(folder: Path) -> Iterator[str]:
    """Run a cluster of one worker with two cores and two GPUs; yields the master's address."""
    script = folder / "gpus.sh"
    script.write_text(GPUS)
    script.chmod(0o755)
    properties = f"spark.worker.resource.gpu.amount 2\nspark.worker.resource.gpu.discoveryScript {script}\n"
    with standalone.running(folder, 2, "3g", properties) as cluster:
        yield cluster.master


def test_spark_submit_trains_on_a_standalone_cluster_and_every_worker_has_its_own_gpu(
    settings: Settings, tmp_path: Path
) -> None:
    dataset = "tiny-on-standalone"
    tiny.snapshot(settings, dataset)
    given = {
        "spark.executor.cores": "1", "spark.cores.max": "2", "spark.executor.memory": "1g",
        "spark.driver.host": "127.0.0.1", "spark.python.worker.reuse": "false", "spark.task.maxFailures": "1",
        "spark.executor.resource.gpu.amount": "1", "spark.task.resource.gpu.amount": "1",
        "spark.executorEnv.PYTHONPATH": str(ROOT),
    }  # fmt: skip
    variables = {
        "HUB__LAKE__ROOT": settings.lake.root,
        "HUB__LOGS__DIR": str(tmp_path / "logs"),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
    }
    with with_gpus(tmp_path) as master:
        command = [str(SPARK / "bin" / "spark-submit"), "--master", master]
        command += ["--properties-file", "conf/spark-defaults.conf"]
        for name, value in given.items():
            command += ["--conf", f"{name}={value}"]
        command += ["jobs/train.py", "--dataset", dataset, "--workers", "2", "--epochs", "1", "--json"]
        done = subprocess.run(
            command, env=os.environ | variables, cwd=ROOT, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stderr[-3000:]
        logs = [path.read_text() for path in (tmp_path / "work").rglob("stderr")]
    # spark-submit writes standard error into standard output, too.
    assert json.loads(done.stdout.splitlines()[-1])["workers"] == 2
    lines = sorted(line for log in logs for line in log.splitlines() if line.startswith("hub: GPU"))
    assert lines == ["hub: GPU 5 of this machine", "hub: GPU 7 of this machine"]
