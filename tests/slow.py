"""A decoder that takes its time, so that a test can find it at work."""

import threading

from streaming import preprocess
from streaming.prepared import Prepared
from streaming.rules import Rules

SECONDS = 0.03
_PAUSE = threading.Event()


def prepare(content: bytes, rules: Rules) -> Prepared:
    """Wait a little, then do the real work."""
    _PAUSE.wait(SECONDS)
    return preprocess.prepare(content, rules)
