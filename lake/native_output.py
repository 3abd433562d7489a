"""What native code and JVMs write to standard output and error, and how libraries in Rust fail."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


@contextmanager
def output_to(path: Path, *descriptors: int) -> Iterator[None]:
    """Redirect file descriptors (1: standard output, 2: standard error) to a file while the block runs.

    Processes that the block starts inherit them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    saved = [os.dup(descriptor) for descriptor in descriptors]
    try:
        with path.open("ab") as file:
            for descriptor in descriptors:
                os.dup2(file.fileno(), descriptor)
        yield
    finally:
        _flush()
        for copy, descriptor in zip(saved, descriptors, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)


def stderr_to(path: Path) -> AbstractContextManager[None]:
    """Redirect native code's standard error, to which it writes its log."""
    return output_to(path, 2)


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic of a library in Rust: it is no Exception, so that programs end with it."""
    return not isinstance(error, Exception) and type(error).__name__ == "PanicException"


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
