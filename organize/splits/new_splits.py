"""Forgetting remembered splits: refused once a model was trained on them, and counted."""

from conf.settings import Settings
from lake.errors import SplitsInUse
from lake.storage import Storage
from models.registry import model_cards
from models.registry.model_cards import State

_FILE = "splits.json"  # in the lake's root


def generation(settings: Settings) -> int:
    """How often the splits of the lake were forgotten; datasets of two generations may share images."""
    storage = Storage(settings.lake.root, settings.s3)
    return int(str(storage.read_json(_FILE)["generation"])) if storage.exists(_FILE) else 0


def begin_generation(settings: Settings) -> None:
    """Count that the splits are forgotten; to be called before new ones are stored."""
    Storage(settings.lake.root, settings.s3).write_json(_FILE, {"generation": generation(settings) + 1})


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
