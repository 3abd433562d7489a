"""The client in one module reviews and trains through a running server."""

from collections.abc import Iterator

import pytest

from conf.settings import Settings
from hub_client import HubClient, HubRefused
from tests.web import worlds
from tests.web.pages.browsers import ready


@pytest.fixture
def hub(own_world: Settings) -> Iterator[HubClient]:
    web = own_world.web.model_copy(update={"trainings_at_once": 0})
    with ready(own_world.model_copy(update={"web": web})) as running, HubClient(running.url) as client:
        yield client


def test_a_program_reviews_asks_for_a_training_and_cancels_it(hub: HubClient) -> None:
    first, *others = hub.doubtful()
    assert len(others) == 2
    decision_id = hub.review(first["image_id"], "relabel", first["suggested_label"])
    assert decision_id is not None
    assert hub.review(first["image_id"], "keep") is None, "it is so already"
    with pytest.raises(HubRefused, match="no sample"):
        hub.review("no-image", "keep")

    asked = hub.train(["cat", "dog"], epochs=2)
    assert (asked.state, hub.training(asked.id).before) == ("queued", 0)
    assert hub.train(["car", "dog"]).before == 1
    assert hub.cancel(asked.id).state == "cancelled"
    with pytest.raises(HubRefused, match="at least 2"):
        hub.train(["cat"])
    with pytest.raises(HubRefused, match="embedding"):
        hub.similar(worlds.picture(3))
