"""What Python workers do once for all of their tasks."""

import gc

from conf import settings
from lake import workers
from streaming.rows import inspected
from streaming.rules import Rules


def test_what_is_loaded_stays_out_of_the_collections_that_follow_every_task() -> None:
    workers.settle.cache_clear()
    before = gc.get_freeze_count()
    try:
        assert list(inspected(Rules.of(settings.load()))(iter(()))) == []
        # The modules alone are some ten thousand objects.
        assert gc.get_freeze_count() > before + 10_000
    finally:
        gc.unfreeze()
