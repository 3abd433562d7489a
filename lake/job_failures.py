"""Failures of Spark jobs and streaming queries as one line: the cause in a Java stack or a traceback."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from lake import tables
from lake.errors import JobFailed

# A line that names an exception, of Java or at the end of a Python traceback.
_ERROR_LINE = re.compile(
    r"^[ \t]*(?:Caused by: |: )?([\w.$]*(?:Error|Exception|\berrors\.\w+))(?:: (.*))?$", re.MULTILINE
)
# The last line of a Python traceback: an error of any name.
_PYTHON_ERROR = re.compile(
    r"Traceback \(most recent call last\):\n(?:^[ \t].*\n|^\n)*^([\w.]+)(?:: (.*))?$", re.MULTILINE
)
_OWN_ERROR = re.compile(r"(?:conf|lake|local|streaming|models|organize|web|jobs)\.errors\.\w+")
_WRAPPERS = ("py4j", "org.apache.spark.SparkException", "org.apache.spark.api.python", "pyspark.errors")
_CRASH = "Python worker exited unexpectedly"


@contextmanager
def job_errors(what: str) -> Iterator[None]:
    """Raise an error of Spark as `JobFailed`: what failed, and the first cause."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        raise JobFailed(f"{what}: {root_cause(error)}") from error


def root_cause(error: PySparkException | Py4JJavaError) -> str:
    """The cause in a Spark error, as one line.

    An error of the hub itself says all in its message. Else it is the innermost Java exception or Python
    error.
    """
    text = str(error)
    errors = [*_ERROR_LINE.findall(text), *_PYTHON_ERROR.findall(text)]
    own = [message for name, message in errors if _OWN_ERROR.fullmatch(name) and message]
    if own:
        return own[-1]
    if _CRASH in text:
        return "a Python worker ended without an error message: killed, or out of memory"
    causes = [(name, message) for name, message in errors if not name.startswith(_WRAPPERS)]
    named = [(name, message) for name, message in causes if message] or causes
    if not named:
        return tables.first_line(error)
    name, message = named[-1]
    return f"{name.rpartition('.')[2]}: {message}" if message else name.rpartition(".")[2]
