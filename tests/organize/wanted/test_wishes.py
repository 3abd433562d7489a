"""Which pictures would help, and the list of who waits for them."""

from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer
from lake.schemas import LABEL_CONFLICT, NONE_OF_THESE
from lake.table import Table
from organize.wanted import overview, watch_list
from organize.wanted.overview import LabelCounts
from organize.wanted.wishes import Confusion, Need, wanted

_FRACTIONS = (0.8, 0.1, 0.1)


def label(
    name: str, images: int, splits: tuple[int, int, int] = (0, 0, 0), watchers: tuple[str, ...] = ()
) -> LabelCounts:
    by_split = dict(zip(("train", "validation", "test"), splits, strict=True))
    return LabelCounts(name, name, None, images, images, by_split, ready=images >= 100, watchers=watchers)


def test_each_need_is_found_and_the_watched_come_first() -> None:
    labels = [
        label("cat", 200, (190, 8, 2)),
        label("dog", 200, (160, 20, 20)),
        label("kiwi", 3, watchers=("u-17", "u-18")),
        label("owl", 90),
        label("yak", 49),
    ]
    confusion = Confusion("m-1", ["cat", "dog"], [[10, 0], [4, 16]])
    found = wanted(labels, 100, _FRACTIONS, confusion)
    assert [(each.label, each.need, each.images) for each in found] == [
        ("kiwi", Need.WATCHED, 97),
        ("owl", Need.NEARLY_READY, 10),
        ("cat", Need.SHORT_SPLIT, 12),
        ("cat", Need.SHORT_SPLIT, 18),
        ("dog", Need.CONFUSED, None),
    ]  # fmt: skip
    assert found[0].detail == "2 waiting; it has 3 of 100 images"
    assert found[-1].detail == "m-1 takes 20% of its pictures for cat"


def test_without_a_model_and_with_enough_of_everything_nothing_is_wanted() -> None:
    assert wanted([label("dog", 200, (160, 20, 20), ("u-1",))], 100, _FRACTIONS, None) == []


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    listed = tmp_path / "labels.csv"
    listed.write_text("label,parent,display_name\nanimal,,Animal\ncat,animal,House cat\n")
    labels = settings.labels.model_copy(update={"ready_images": 2, "file": listed})
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake")), "labels": labels})


def test_watching_is_remembered_once_for_each_user(own: Settings) -> None:
    assert watch_list.watchers(own) == {}
    assert not watch_list.unwatch(own, "kiwi", "u-17")
    assert watch_list.watch(own, "kiwi", "u-17")
    assert not watch_list.watch(own, "kiwi", "u-17")
    assert watch_list.watch(own, "kiwi", "o'hara")
    assert watch_list.watchers(own) == {"kiwi": ["u-17", "o'hara"]}
    assert watch_list.unwatch(own, "kiwi", "o'hara")
    assert watch_list.watchers(own) == {"kiwi": ["u-17"]}


def test_the_tree_has_listed_counted_and_watched_labels(own: Settings) -> None:
    samples = [
        ("a", "cat", [], "train", None),
        ("b", "cat", ["dark"], None, "dog"),
        ("c", "cat", [LABEL_CONFLICT], "train", None),
        ("d", "cat", [NONE_OF_THESE], "train", None),
        ("e", "kitten", [], "test", None),
    ]
    names = ("image_id", "label", "flags", "split", "suggested_label")
    row_writer.append(own, Table.SAMPLES, *[dict(zip(names, row, strict=True)) for row in samples])
    row_writer.append(own, Table.LABELS, {"label": "cat", "display_name": "House cat", "accepted": 5})
    row_writer.append(own, Table.LABELS, {"label": "kitten", "parent": "cat", "display_name": "Kitten"})
    watch_list.watch(own, "kiwi", "u-17")
    found = overview.load(own)
    assert [(depth, each.label) for depth, each in overview.walk(found)] == [
        (0, "animal"), (1, "cat"), (2, "kitten"), (0, "kiwi"),
    ]  # fmt: skip
    cat = found["cat"]
    assert (cat.accepted, cat.images, cat.doubtful, cat.ready) == (5, 2, 1, True)
    assert cat.splits == {"train": 1, "validation": 0, "test": 0}
    assert found["kiwi"].watchers == ("u-17",) and not found["kiwi"].ready
    assert overview.with_pictures(found) == {"animal", "cat", "kitten", "kiwi"}


def test_a_lake_without_tables_has_the_listed_labels(own: Settings) -> None:
    assert list(overview.load(own)) == ["animal", "cat"]
    assert overview.with_pictures(overview.load(own)) == set()
