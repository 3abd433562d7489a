"""The lock on what is organized: processes take turns, and one that waits in vain says for whom."""

import threading
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.errors import InUse
from lake.locks import organize_lock


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    organize = settings.organize.model_copy(update={"lock_seconds": 0.0})
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake")), "organize": organize})


def test_a_second_process_waits_until_the_lock_is_free(own: Settings) -> None:
    patient = own.model_copy(update={"organize": own.organize.model_copy(update={"lock_seconds": 30.0})})
    entered, released = threading.Event(), threading.Event()

    def wait() -> None:
        with organize_lock.held(patient, "organize"):
            assert released.is_set()
            entered.set()

    with organize_lock.held(own, "erase"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.wait(0.5)
        released.set()
    thread.join(30)
    assert entered.is_set()


def test_who_waited_in_vain_is_told_for_whom(own: Settings) -> None:
    with (
        organize_lock.held(own, "erase"),
        pytest.raises(InUse, match=r"`hub erase` on .* pid \d+"),
        organize_lock.held(own, "organize"),
    ):
        pytest.fail("both hold the lock")


def test_only_one_follower_at_a_time_and_it_does_not_hold_the_other_lock(own: Settings) -> None:
    with organize_lock.following(own):
        with organize_lock.held(own, "organize"):
            pass
        with pytest.raises(InUse, match="organize --follow"), organize_lock.following(own):
            pytest.fail("both follow")
