"""The log of the server: traces of errors, although commands disable logging, and nothing afterwards."""

import io
import logging
from pathlib import Path

from web.server import log


def test_errors_are_written_with_their_trace_while_the_server_runs(tmp_path: Path) -> None:
    shown = io.StringIO()
    terminal = logging.StreamHandler(shown)
    level = logging.root.level
    logging.root.addHandler(terminal)
    logging.root.setLevel(logging.CRITICAL)
    logging.disable(logging.CRITICAL)
    try:
        with log.written_to(tmp_path):
            try:
                raise ValueError("told")
            except ValueError as error:
                logging.getLogger("hub.web").error("request failed", exc_info=error)
            logging.getLogger("hub.web").info("not written")
            logging.getLogger("kafka").error("a retry")
        assert (logging.root.manager.disable, logging.root.level) == (logging.CRITICAL, logging.CRITICAL)
    finally:
        logging.disable(logging.NOTSET)
        logging.root.setLevel(level)
        logging.root.removeHandler(terminal)
    assert shown.getvalue() == "", "the terminal stays as quiet as commands make it"
    text = (tmp_path / log.FILE).read_text()
    assert "ValueError: told" in text and "Traceback" in text
    assert "not written" not in text and "a retry" not in text
