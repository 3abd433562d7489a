"""What is found of changed copies of real photographs, with the default embedder; no Spark.

Each of some photographs has ten changed copies among them and other photographs. Candidates are the nearest
embeddings and equal bands of hashes, as on a lake.
"""

import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.pictures import pixels
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.comparison.verification import Match
from organize.duplicates.partition import Pair, partition
from organize.features import network_file
from organize.features.embedder import embedder_of
from organize.features.network import Network, load
from streaming.sources.digits import DigitsSource
from streaming.sources.items import Skipped
from tests.models.imagenet import skip_without_weights
from tests.organize.duplicates.changed_copies import Picture, find
from tests.support.media import scenes

pytestmark = pytest.mark.faults  # some minutes

CHANGED, OTHERS = 100, 100  # photographs with copies, and without
HARD = "crop 30 %"
CHANGES: dict[str, tuple[Callable[[scenes.RGB], scenes.RGB], Relation]] = {
    "q30": (scenes.reencoded, Relation.REENCODED),
    "half": (scenes.resized, Relation.RESIZED),
    "crop 4 %": (lambda rgb: scenes.cropped(rgb, 0.04), Relation.CROPPED),
    "crop 15 %": (lambda rgb: scenes.cropped(rgb, 0.15), Relation.CROPPED),
    HARD: (lambda rgb: scenes.cropped(rgb, 0.3), Relation.CROPPED),
    "lighter": (lambda rgb: scenes.lit(rgb, 1.1), Relation.REENCODED),
    "darker": (lambda rgb: scenes.lit(rgb, 0.9), Relation.REENCODED),
    "mirror": (scenes.mirrored, Relation.MIRRORED),
    "turn": (scenes.turned, Relation.SAME_SCENE),
    "border": (scenes.framed, Relation.CROPPED),
}


@pytest.fixture(scope="module")
def pictures(shared_data: Path) -> list[Picture]:
    with zipfile.ZipFile(shared_data / "photos-mini.zip") as archive:
        names = sorted(archive.namelist())[: CHANGED + OTHERS]
        photographs = [pixels.decode(archive.read(name), 4096) for name in names]
    originals = [Picture(number, "", rgb) for number, rgb in enumerate(photographs)]
    copies = [
        Picture(each.number, name, change(each.rgb))
        for each in originals[:CHANGED]
        for name, (change, _) in CHANGES.items()
    ]
    return [*originals, *copies]


@pytest.fixture(scope="module")
def embedding(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Network:
    skip_without_weights("efficientnet-lite0")
    lake = Lake(root=str(tmp_path_factory.mktemp("embedder") / "lake"))
    own = settings.model_copy(update={"lake": lake})
    return load(network_file.get_or_create(own, embedder_of(own)))


@pytest.fixture(scope="module")
def matches(
    pictures: list[Picture], settings: Settings, embedding: Network, tmp_path_factory: pytest.TempPathFactory
) -> list[Match]:
    """The near duplicates that are found among them."""
    return find(pictures, settings, embedding, tmp_path_factory.mktemp("recall"))


@pytest.fixture(scope="module")
def groups(matches: list[Match]) -> Sequence[Sequence[str]]:
    return partition(Pair(m.first, m.second, m.significance) for m in matches).groups


def test_changed_copies_are_in_the_group_of_their_original(
    pictures: list[Picture], groups: Sequence[Sequence[str]]
) -> None:
    group_of = {image_id: number for number, group in enumerate(groups) for image_id in group}
    originals = {picture.number: picture.image_id for picture in pictures if not picture.change}
    found = Counter(
        picture.change
        for picture in pictures
        if picture.change
        and picture.image_id in group_of
        and group_of[picture.image_id] == group_of.get(originals[picture.number])
    )
    ordinary = sum(found[name] for name in CHANGES if name != HARD)
    assert ordinary >= 0.97 * CHANGED * (len(CHANGES) - 1), found
    assert found[HARD] >= 0.85 * CHANGED, found


def test_groups_hold_no_two_different_photographs(
    pictures: list[Picture], groups: Sequence[Sequence[str]]
) -> None:
    number = {picture.image_id: picture.number for picture in pictures}
    pairs = [(one, other) for group in groups for one in group for other in group if one < other]
    right = sum(number[one] == number[other] for one, other in pairs)
    assert right >= 0.99 * len(pairs)


def test_the_relation_to_the_original_is_right(pictures: list[Picture], matches: list[Match]) -> None:
    by_id = {picture.image_id: picture for picture in pictures}
    judged = []
    for match in matches:
        one, other = sorted((by_id[match.first], by_id[match.second]), key=lambda picture: picture.change)
        if one.number == other.number and not one.change:
            judged.append(match.relation is CHANGES[other.change][1])
    assert sum(judged) >= 0.95 * len(judged) > 0


def test_no_two_scans_of_digits_are_near_duplicates(
    settings: Settings, embedding: Network, tmp_path: Path
) -> None:
    items = list(DigitsSource().items(Skipped()))[::3]
    scans = [Picture(number, "scan", pixels.decode(item.content, 4096)) for number, item in enumerate(items)]
    assert find(scans, settings, embedding, tmp_path) == []
