"""The environment variables of Spark's JVMs, which their executors and Python workers inherit."""

import ctypes
import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark

from conf import process_environment
from lake.errors import SparkUnavailable
from lake.spark import temporary_folder

LOOPBACK = "127.0.0.1"
S3_KEYS = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"

_PYSPARK = Path(pyspark.__file__).parent
# Debian: libnss-wrapper. It gives a process a user's name that /etc/passwd lacks.
_NSS_WRAPPER = "libnss_wrapper.so"


def variables(work: Path, local: bool) -> dict[str, str]:
    """The environment of the JVM that a session starts.

    On this machine Spark is always the hub's own: what SPARK_ and PYSPARK_ variables say belongs to another
    Spark or another Python. And it needs no name of this machine, which may resolve to nothing.

    Args:
        work: `spark.work_dir`.
        local: whether the master is this machine.

    Raises:
        SparkUnavailable: this user has no name.
    """
    found = process_environment.of_children()
    home = found.get("SPARK_HOME")
    if local:
        # With S3's keys Spark asks for the address of this machine's name; the session passes them elsewhere.
        foreign = [name for name in found if name in S3_KEYS or name.startswith(("SPARK_", "PYSPARK_"))]
        found = {name: value for name, value in found.items() if name not in foreign}
        found["SPARK_LOCAL_IP"] = LOOPBACK
    if home is None or (local and not _is_pyspark(home)):
        home = str(_linked_home(work))
    if not os.access(Path(found.get("HOME") or "/nowhere"), os.W_OK):
        found["HOME"] = str(work)  # libraries keep caches there
    return {"PYSPARK_PYTHON": sys.executable} | found | _user_name(work) | {"SPARK_HOME": home}


def submitted() -> dict[str, str]:
    """The environment for a session in the JVM of spark-submit: Python workers use this interpreter."""
    return {"PYSPARK_PYTHON": sys.executable} | os.environ


@contextmanager
def replaced(environment: Mapping[str, str]) -> Iterator[None]:
    """While the block runs, give this process another environment; PySpark passes its own to the JVM."""
    before = dict(os.environ)
    try:
        _set(environment)
        yield
    finally:
        _set(before)


def _set(environment: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


def _is_pyspark(home: str) -> bool:
    """Whether a SPARK_HOME is the Spark of this Python's pyspark, or a folder of links to it."""
    return os.path.realpath(Path(home) / "jars") == os.path.realpath(_PYSPARK / "jars")


def _linked_home(work: Path) -> Path:
    """A SPARK_HOME of links to pyspark's parts.

    A local-cluster puts its executors' folders into `$SPARK_HOME/work`, in site-packages by default.
    """
    home = work / "home"
    home.mkdir(parents=True, exist_ok=True)
    for part in _PYSPARK.iterdir():
        if part.name != "work":
            with suppress(FileExistsError):
                (home / part.name).symlink_to(part)
    return home


def _user_name(work: Path) -> dict[str, str]:
    """Variables that name this user for Hadoop, if it has no name (`docker run --user`, OpenShift).

    Raises:
        SparkUnavailable: it has no name, and libnss_wrapper is not installed.
    """
    user, group = os.geteuid(), os.getegid()
    with suppress(KeyError):
        pwd.getpwuid(user)
        return {}
    entry = f"hub:x:{user}:{group}::{work}:/bin/sh"
    try:
        ctypes.CDLL(_NSS_WRAPPER)
    except OSError:
        raise SparkUnavailable(
            f"user id {user} has no name on this machine, and Hadoop needs one: install libnss-wrapper (the "
            f"hub then gives it a name), or add the line {entry!r} to /etc/passwd"
        ) from None
    own = temporary_folder.of_process(work).path
    passwd, groups = own / "passwd", own / "group"
    passwd.write_text(f"{entry}\n")
    groups.write_text(f"hub:x:{group}:\n")
    loaded = " ".join(filter(None, (os.environ.get("LD_PRELOAD"), _NSS_WRAPPER)))
    return {"LD_PRELOAD": loaded, "NSS_WRAPPER_PASSWD": str(passwd), "NSS_WRAPPER_GROUP": str(groups)}
