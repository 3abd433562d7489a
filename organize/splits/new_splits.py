"""Whether remembered splits may be forgotten: not while a model was trained on them."""

from conf.settings import Settings
from lake.errors import SplitsInUse
from models.registry import model_cards
from models.registry.model_cards import State


def refuse_new_splits(settings: Settings, force: bool) -> None:
    """Refuse to split all images anew if a model was trained on any dataset of the lake.

    Its training pictures could become test pictures of new datasets, and `--from` would start from weights
    that know the answers.

    Args:
        force: do it nevertheless.

    Raises:
        SplitsInUse: the message names the newest of these models.
    """
    if force:
        return
    trained = [card for card in model_cards.all_cards(settings) if card.state is not State.FAILED]
    if trained:
        raise SplitsInUse(
            f"--new-splits: {len(trained)} model(s) were trained on the splits of this lake, the newest is "
            f"{trained[0].model_id} on {trained[0].dataset_id}; their training pictures could become test "
            "pictures: leave the flag out, or add --force"
        )
