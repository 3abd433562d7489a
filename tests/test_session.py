"""One session in a process, whoever starts and ends it."""

import threading

import pytest

from conf.settings import Settings
from lake import session
from lake.errors import SparkUnavailable


def test_a_session_is_started_when_the_one_before_it_has_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark would hand out the one that is ending."""

    class Slow:
        def stop(self) -> None:
            ended.wait(20)

    def refuse() -> None:
        started.set()
        raise SparkUnavailable("far enough")

    ended, started = threading.Event(), threading.Event()
    monkeypatch.setattr(session, "_refuse_missing_jars", refuse)
    session.stop_aside(Slow())  # type: ignore[arg-type]

    def start() -> None:
        with pytest.raises(SparkUnavailable, match="far enough"):
            session.start(settings, "second")

    second = threading.Thread(target=start)
    second.start()
    assert not started.wait(0.3)
    ended.set()
    second.join(20)
    assert started.is_set()
