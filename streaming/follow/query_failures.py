"""The root cause of a failed streaming query, as one line."""

import re

from pyspark.errors import PySparkException

from lake import tables

_ERROR_LINE = re.compile(r"^(?:Caused by: )?([\w.$]*(?:Error|Exception))(?:: (.*))?$", re.MULTILINE)
_WRAPPERS = ("py4j", "org.apache.spark.SparkException", "org.apache.spark.api.python")


def root_cause(error: PySparkException) -> str:
    """The innermost Java exception or Python error in a streaming query's error, as one line."""
    errors = _ERROR_LINE.findall(str(error))
    causes = [(name, text) for name, text in errors if not name.startswith(_WRAPPERS)]
    if not causes:
        return tables.first_line(error)
    name, text = causes[-1]
    return f"{name.rpartition('.')[2]}: {text}" if text else name.rpartition(".")[2]
