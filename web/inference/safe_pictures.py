"""Pictures that arrive in requests, decoded in a process of their own, as ingestion does.

A picture to predict passes the same checks as an upload, and is scaled and encoded like one: so a model sees
what it was trained on. A hostile file that takes over its decoder is in a process without files and sockets.
"""

import threading

from streaming.contract.rules import Rules
from streaming.contract.verdict import Rejected
from streaming.errors import DecoderLost
from streaming.isolate.decoder import Decoder
from streaming.verify import file_checks
from streaming.verify.prepared import Prepared
from web.problems.problem import Problem


class SafePictures:
    """One decoder process, started when the first picture comes; one picture at a time.

    Args:
        rules: checks and limits for pictures.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._decoder: Decoder | None = None

    def prepare(self, content: bytes) -> Prepared:
        """Check a picture and encode it again.

        Raises:
            Problem: 422 with the reason, it is none that the hub accepts; 503, the decoder cannot be started.
        """
        try:
            file_checks.image_id(content, None, self._rules.ingest)
            with self._lock:
                outcome = self._prepare(content)
        except Rejected as rejected:
            outcome = rejected
        if isinstance(outcome, Rejected):
            raise Problem(422, outcome.detail, outcome.reason)
        return outcome

    def close(self) -> None:
        """Stop the process."""
        with self._lock:
            if self._decoder is not None:
                self._decoder.close()

    def _prepare(self, content: bytes) -> Prepared | Rejected:
        if self._decoder is None:
            self._decoder = Decoder(self._rules)
        try:
            return self._decoder.prepare([content])[0]
        except DecoderLost as error:
            self._decoder.close()
            self._decoder = None
            raise Problem(503, str(error), "decoder_lost", retry_after=5) from None
