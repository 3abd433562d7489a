"""Folders of a dataset's layout are told from labels, and flags that help are found."""

import re
from collections.abc import Sequence

import pytest

from streaming.sources.labels.layouts import layout_folders, ways_out


@pytest.mark.parametrize(
    "folders",
    [
        ["tiny/train/n01/images", "tiny/train/n02/images", "tiny/val/images"],  # Tiny ImageNet
        ["ILSVRC/val"],
        ["coco/train2017", "coco/val2017"],
        ["dogs/train", "dogs/test1"],  # Kaggle
        ["VOC2012/JPEGImages", "VOC2012/SegmentationClass"],
        ["yolo/images/train", "yolo/images/val"],
        ["yolo/train/images", "yolo/valid/images", "yolo/test/images"],
        ["flowers/jpg"],
        ["ham/HAM10000_images_part_1", "ham/HAM10000_images_part_2"],
        ["isic/ISIC_2019_Training_Input"],
        ["nih/images_001/images", "nih/images_002/images"],
        ["cassava/train_images"],
        ["celeba/img_align_celeba"],
        ["imagenet/ILSVRC2012_img_val"],
        ["phone/DCIM/100APPLE", "phone/DCIM/101APPLE"],
        ["phone/DCIM/Camera", "phone/DCIM/Screenshots"],
        ["photos/2024-05-01", "photos/2024-05-02"],
        ["Photos"],
        ["data"],
        ["x/New Folder/All Images"],
        ["horse2zebra/trainA", "horse2zebra/trainB", "horse2zebra/testA", "horse2zebra/testB"],
        ["stanford/cars_train", "stanford/cars_test"],
        ["market/bounding_box_train", "market/bounding_box_test"],
        ["backup/100APPLE", "backup/101APPLE"],
        ["faces/fold0", "faces/fold1"],
        ["set/shard-0001", "set/shard-0002"],
    ],
)
def test_folders_of_a_layout_are_found(folders: Sequence[str]) -> None:
    found = layout_folders(dict.fromkeys(folders, 3))
    assert found.total() == 3 * len(folders)


@pytest.mark.parametrize(
    "folders",
    [
        ["set/cat", "set/dog"],
        ["cat"],
        ["voc/aeroplane", "voc/train", "voc/bus"],  # a train on rails
        ["style/photo", "style/painting"],
        ["mask/with_mask", "mask/without_mask"],
        ["mnist/0", "mnist/1", "mnist/9"],
        ["fruit/Apple 1", "fruit/Apple 2"],
        ["cub/001.Black_footed_Albatross", "cub/002.Laysan_Albatross"],
        ["plants/Pepper,_bell___healthy"],
        ["food/full_plate", "food/empty_plate"],
        ["years/2024"],
        ["rail/steam_train", "rail/tram"],
        ["rail/steam_train", "rail/freight_train"],
        ["glass/test_tube", "glass/flask"],
        ["school/class1", "school/class2"],
        ["x/rust"],
        ["tests/contest", "tests/trained_dog", "tests/imager", "tests/value", "tests/portrait"],
    ],
)
def test_labels_are_no_folders_of_a_layout(folders: Sequence[str]) -> None:
    assert not layout_folders(dict.fromkeys(folders, 3))


def test_long_name_of_layout_words_is_told_at_once() -> None:
    assert not layout_folders({f"x/{'dataset' * 30}!cat": 1})


def test_only_the_folders_without_a_class_are_named() -> None:
    assert layout_folders({"set/train/cat": 5, "set/train/dog": 5, "set/test": 9}) == {"test": 9}


def test_folder_above_is_suggested_and_what_to_leave_out() -> None:
    names = [f"train/n0{n % 3}/images/{n}.JPEG" for n in range(9)] + [
        f"val/images/val_{n}.JPEG" for n in range(3)
    ]
    assert ways_out(names, "tiny", []) == [
        "--label-from folder:-2, with the lines `val,` in --label-map (labels n00, n01, n02)"
    ]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ([f"train/{kind}.{n}.jpg" for kind in ("cat", "dog") for n in range(5)], {"cat", "dog"}),
        ([f"images/{kind}_{n}.jpg" for kind in ("Abyssinian", "great_pyrenees") for n in range(5)],
         {"Abyssinian", "great_pyrenees"}),
        (["n01443537_goldfish.JPEG", "n01484850_great_white_shark.JPEG"], {"goldfish", "great_white_shark"}),
        ([f"val/n0144353{k}_{n}.JPEG" for k in range(2) for n in range(3)], {"n01443530", "n01443531"}),
    ],
)  # fmt: skip
def test_pattern_that_finds_labels_in_file_names_is_suggested(names: list[str], labels: set[str]) -> None:
    (way,) = ways_out(names, "", [])
    pattern = re.search("--label-pattern '(.+)' ", way)
    assert pattern is not None
    found = [re.search(pattern[1], name.rpartition("/")[2]) for name in names]
    assert {match["label"] for match in found if match} == labels


@pytest.mark.parametrize(
    "names",
    [
        [f"train/{n:032x}.jpg" for n in range(9)],
        [f"val/ILSVRC2012_val_{n:08}.JPEG" for n in range(9)],
        [f"x/IMG_{n}.jpg" for n in range(9)],
    ],
)
def test_nothing_is_suggested_without_labels_in_paths(names: list[str]) -> None:
    assert ways_out(names, "set", []) == []
    assert ways_out(names, "set", ["labels.csv"]) == ["--labels-from labels.csv"]
    assert ways_out(names, "", ["labels.csv"]) == ["--labels-from labels.csv, copied out of the source"]
