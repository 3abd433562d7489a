"""The cause of a failed Spark job or streaming query, as one line; texts are those of Spark 4.2."""

from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from lake.errors import JobFailed
from lake.job_failures import job_errors, root_cause

_PROXY = """[STREAM_FAILED] Query [id = 1, runId = 2] terminated with exception: An exception was raised by \
the Python Proxy. Return Message: Traceback (most recent call last):
  File "/x/py4j/clientserver.py", line 617, in _call_proxy
    return_value = getattr(self.pool[obj_id], method)(*params)
  File "/x/streaming/follow/dead_letters.py", line 71, in _require_topic
    raise IngestFailed("…")
streaming.errors.IngestFailed: no topic 'images.rejected' at 127.0.0.1:1: run `hub up`, which creates it

\tat py4j.Protocol.getReturnValue(Protocol.java:476)
"""
_PROXY_OF_A_LIBRARY = """[STREAM_FAILED] Query [id = 1, runId = 2] terminated with exception: An exception \
was raised by the Python Proxy. Return Message: Traceback (most recent call last):
  File "/x/py4j/clientserver.py", line 617, in _call_proxy
    return_value = getattr(self.pool[obj_id], method)(*params)
  File "/x/organize/follow/ledger_query.py", line 99, in write
    samples = samples.join(uploads)
              ^^^^^^^^^^^^^^^^^^^^^
pyarrow.lib.ArrowInvalid: Data type list<element: string> is not supported in join

\tat py4j.Protocol.getReturnValue(Protocol.java:476)
"""
_STAGE = _PROXY_OF_A_LIBRARY.replace(
    "pyarrow.lib.ArrowInvalid: Data", "organize.errors.StageFailed: clusters: ArrowInvalid: Data"
)
_CRASHED = """An error occurred while calling o182.save.
: org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing rows to file:/x.
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.taskFailed(QueryExecutionErrors.scala:843)
Caused by: org.apache.spark.SparkException: Python worker exited unexpectedly (crashed). Consider setting …
Caused by: java.io.EOFException
\tat java.base/java.io.DataInputStream.readInt(DataInputStream.java:386)
"""
_WORKER = """
An exception was thrown from the Python worker:
Traceback (most recent call last):
  File "/x/prediction.py", line 12, in load
    model = keras.models.load_model(path)
ValueError: File not found: filepath=/x/model.keras. Please ensure the file is
an accessible `.keras` zip file.
"""
_JAVA = """An error occurred while calling o12.save.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 failed 4 times
Caused by: java.io.IOException: No space left on device
\tat java.base/java.io.FileOutputStream.writeBytes(Native Method)
Caused by: java.lang.IllegalStateException
"""
_NOTHING = "Job aborted due to stage failure: ExecutorLostFailure (executor 1 exited) Reason: Command exited"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (_PROXY, "no topic 'images.rejected' at 127.0.0.1:1: run `hub up`, which creates it"),
        (_PROXY_OF_A_LIBRARY, "ArrowInvalid: Data type list<element: string> is not supported in join"),
        (_STAGE, "clusters: ArrowInvalid: Data type list<element: string> is not supported in join"),
        (_CRASHED, "a Python worker ended without an error message: killed, or out of memory"),
        (_WORKER, "ValueError: File not found: filepath=/x/model.keras. Please ensure the file is"),
        (_JAVA, "IOException: No space left on device"),
        (_NOTHING, _NOTHING),
    ],
    ids=[
        "own error in a proxy",
        "error of a library in a proxy",
        "failed stage in a proxy",
        "crash",
        "error in a worker",
        "Java",
        "no exception",
    ],
)
def test_the_cause_is_one_line(text: str, cause: str) -> None:
    assert root_cause(PySparkException(message=text)) == cause


@pytest.mark.services
def test_an_error_in_a_task_is_named_with_what_failed(spark: SparkSession) -> None:
    def fail(batches: Any) -> Any:
        for batch in batches:
            raise ValueError("the disk is full")
            yield batch

    with (
        pytest.raises(JobFailed, match=r"^cannot count: ValueError: the disk is full$") as told,
        job_errors("cannot count"),
    ):
        spark.range(3).mapInArrow(fail, "id long").count()
    assert isinstance(told.value.__cause__, Exception)  # shown by --debug
