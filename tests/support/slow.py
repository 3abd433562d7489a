"""A slow decoder, so that a test can interrupt an ingestion, and one that fails once per picture."""

import hashlib
import threading

from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.verify import preprocess
from streaming.verify.prepared import Prepared

SECONDS = 0.03
_PAUSE = threading.Event()


def prepare(content: bytes, rules: Rules) -> Prepared:
    """Wait a little, then do the real work."""
    _PAUSE.wait(SECONDS)
    return preprocess.prepare(content, rules)


def moody(content: bytes, rules: Rules) -> Prepared:
    """Reject each picture the first time, like a timeout on an overloaded machine."""
    seen = rules.ingest.index_dir / hashlib.sha256(content).hexdigest()
    if not seen.exists():
        seen.touch()
        raise Rejected(Reason.DECODE_TIMEOUT, "not now")
    return preprocess.prepare(content, rules)
