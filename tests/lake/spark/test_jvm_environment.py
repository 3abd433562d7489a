"""The environment of Spark's JVMs: on this machine nothing of another Spark, and a user's name for Hadoop."""

import os
import sys
from pathlib import Path

import pyspark
import pytest

from lake.errors import SparkUnavailable
from lake.spark import jvm_environment

OTHERS = {
    "AWS_ACCESS_KEY_ID": "of S3",
    "SPARK_HOME": "/opt/spark-3.5",
    "SPARK_CONF_DIR": "/etc/spark",
    "SPARK_LOCAL_IP": "10.9.8.7",
    "SPARK_REMOTE": "sc://elsewhere",
    "PYSPARK_PYTHON": "/usr/bin/python2",
    "PYSPARK_SUBMIT_ARGS": "--master yarn pyspark-shell",
}


@pytest.fixture(autouse=True)
def of_another_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)


def test_on_this_machine_nothing_of_another_spark_or_python_is_used(tmp_path: Path) -> None:
    found = jvm_environment.variables(tmp_path, local=True)
    assert {name for name in found if name.startswith(("SPARK_", "PYSPARK_"))} == {
        "SPARK_HOME", "SPARK_LOCAL_IP", "PYSPARK_PYTHON",
    }  # fmt: skip
    assert found["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert "AWS_ACCESS_KEY_ID" not in found, "Spark would ask for the address of this machine's name"
    assert found["PYSPARK_PYTHON"] == sys.executable
    assert Path(found["SPARK_HOME"]) == tmp_path / "home"
    assert (tmp_path / "home/jars").resolve() == Path(pyspark.__file__).parent / "jars"


def test_on_a_cluster_the_client_s_variables_are_kept(tmp_path: Path) -> None:
    found = jvm_environment.variables(tmp_path, local=False)
    assert OTHERS.items() <= found.items()


def test_a_folder_of_links_to_this_pyspark_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the image's /hub/spark, on whose path the archive of Spark's classes depends."""
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "jars").symlink_to(Path(pyspark.__file__).parent / "jars")
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "linked"))
    assert jvm_environment.variables(tmp_path, local=True)["SPARK_HOME"] == str(tmp_path / "linked")


def test_a_home_that_cannot_be_written_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    assert jvm_environment.variables(tmp_path, local=True)["HOME"] == str(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert jvm_environment.variables(tmp_path / "work", local=True)["HOME"] == str(tmp_path)


def test_a_user_without_a_name_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(jvm_environment, "_NSS_WRAPPER", "libc.so.6")  # a library that every machine has
    found = jvm_environment.variables(tmp_path, local=True)
    assert found["LD_PRELOAD"] == "libc.so.6"
    (entry,) = Path(found["NSS_WRAPPER_PASSWD"]).read_text().splitlines()
    assert entry.split(":")[::2] == ["hub", "54321", "", "/bin/sh"]
    assert Path(found["NSS_WRAPPER_GROUP"]).read_text() == f"hub:x:{os.getegid()}:\n"


def test_without_the_library_one_line_names_the_missing_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(jvm_environment, "_NSS_WRAPPER", "libnss_wrapper-missing.so")
    with pytest.raises(SparkUnavailable, match=r"user id 54321 has no name.*'hub:x:54321:\d+::.*/etc/passwd"):
        jvm_environment.variables(tmp_path, local=True)


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    with jvm_environment.replaced({"ONLY": "this"}):
        assert dict(os.environ) == {"ONLY": "this"}
    assert dict(os.environ) == before
