"""Labels from files beside the pictures, from the n-th folder, and labels that are replaced."""

import json
from pathlib import Path

import pytest

from conf.errors import UsageError
from streaming.sources.folders import open_source
from streaming.sources.items import Skipped
from streaming.sources.labels.labelling import LabelFlags, Labelling
from tests.support.archives import LIMITS, PICTURE, foldered, zipped

PICTURES = {"images/1.jpg": PICTURE, "images/2.jpg": PICTURE, "images/3.jpg": PICTURE}


def labels(source: Path, **flags: str) -> tuple[dict[str, str | None], Skipped]:
    labelling, skipped = Labelling.of(LabelFlags(**flags), str(source)), Skipped()
    items = list(open_source(str(source), labelling, LIMITS).items(skipped))
    for item in items:
        if item.label is None:
            skipped.add(item.unlabelled, item.name)
    return {item.name: item.label for item in items}, skipped


def by_table(tmp_path: Path, name: str, text: str | bytes) -> dict[str, str | None]:
    source = foldered(tmp_path / "in", PICTURES)
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return labels(source, table=str(tmp_path / name))[0]


EXPECTED = {"images/1.jpg": "Crème brûlée", "images/2.jpg": "Pepper, bell", "images/3.jpg": None}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", 'path,label\nimages/1.jpg,Crème brûlée\n./images/2.jpg,"Pepper, bell"\n'),
        ("l.csv", "\ufefflabel;path;x\r\nCrème brûlée;images\\1.jpg;x\r\nPepper, bell;in/images/2.jpg;y\r\n"),
        ("l.csv", "path,label\n1.jpg,Crème brûlée\n2.jpg,\"Pepper, bell\"\n".encode("utf-16")),
        ("l.csv", 'id,breed\n1,Crème brûlée\n2,"Pepper, bell"\n'),  # as Kaggle's, without endings
        ("l.csv", 'Image_ID,Class Name\n1.jpg,Cre\u0300me bru\u0302le\u0301e\n2.jpg,"Pepper, bell"\n'),
        ("val_annotations.txt", "1.jpg\tCrème brûlée\t0\t0\t9\t9\n2.jpg\tPepper, bell\t0\t0\t9\t9\n"),
        ("l.csv", '/data/set/images/1.jpg,Crème brûlée\n/data/set/images/2.jpg,"Pepper, bell"\n'),
        ("l.jsonl", '{"path": "1", "label": "Crème brûlée"}\n\n{"file": "2", "label": "Pepper, bell"}\n'),
        ("l.ndjson", '{"image": "images/1", "tag": "Crème brûlée"}\n{"image": "2", "tag": ["Pepper, bell"]}'),
        ("l.json", '[{"path": "1.jpg", "label": "Crème brûlée"}, {"path": "2", "label": "Pepper, bell"}]'),
        ("l.json", '{"1.jpg": "Crème brûlée", "2.jpg": "Pepper, bell"}'),
    ],
)  # fmt: skip
def test_labels_come_from_a_file(tmp_path: Path, name: str, text: str | bytes) -> None:
    assert by_table(tmp_path, name, text) == EXPECTED


def test_labels_come_from_coco_and_pictures_with_several_are_counted(tmp_path: Path) -> None:
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2, 3)],
        "categories": [{"id": 17, "name": "cat", "supercategory": "animal"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"image_id": image, "category_id": category, "bbox": [0, 0, 1, 1]}
            for image, category in [(1, 17), (1, 17), (2, 17), (2, 18), (3, 18)]
        ],
    }
    source = foldered(tmp_path / "in", PICTURES | {"instances.json": json.dumps(content).encode()})
    found, skipped = labels(source, table="instances.json")  # found in the source folder
    assert found == {"images/1.jpg": "cat", "images/2.jpg": None, "images/3.jpg": "dog"}
    assert skipped.names["several labels"] == ["images/2.jpg"]


def test_labels_come_from_open_images_with_its_class_descriptions(tmp_path: Path) -> None:
    (tmp_path / "oidv7-class-descriptions.csv").write_text(
        "LabelName,DisplayName\n/m/01yrx,Cat\n/m/0bt9lr,Dog\n"
    )
    rows = ["ImageID,Source,LabelName,Confidence", "1,verification,/m/01yrx,1", "1,verification,/m/0bt9lr,0"]
    text = "\n".join([*rows, "2,crowdsource,/m/0bt9lr,1", "9,verification,/m/01yrx,1"])
    assert by_table(tmp_path, "labels.csv", text) == {
        "images/1.jpg": "Cat", "images/2.jpg": "Dog", "images/3.jpg": None,
    }  # fmt: skip


def test_class_descriptions_may_be_the_label_map(tmp_path: Path) -> None:
    source = foldered(tmp_path / "in", PICTURES)
    (tmp_path / "labels.csv").write_text("ImageID,LabelName\n1,/m/01yrx\n2,/m/01yrx\n2,/m/0bt9lr\n")
    (tmp_path / "names.csv").write_text("/m/01yrx,Cat\n/m/0bt9lr,\n")
    found, _ = labels(source, table=str(tmp_path / "labels.csv"), names=str(tmp_path / "names.csv"))
    assert found == {"images/1.jpg": "Cat", "images/2.jpg": "Cat", "images/3.jpg": None}


def test_longest_path_of_the_table_wins(tmp_path: Path) -> None:
    source = zipped(tmp_path / "a.zip", {"a/1.jpg": PICTURE, "b/1.jpg": PICTURE, "c/2.jpg": PICTURE})
    (tmp_path / "l.csv").write_text("path,label\n1.jpg,short\nb/1.jpg,long\nx/2.jpg,other folder\n")
    assert labels(source, table=str(tmp_path / "l.csv"))[0] == {
        "a/1.jpg": "short", "b/1.jpg": "long", "c/2.jpg": "other folder",
    }  # fmt: skip


def test_file_name_in_two_folders_of_the_table_gives_no_label(tmp_path: Path) -> None:
    source = foldered(tmp_path / "in", {"c/1.jpg": PICTURE, "c/2.jpg": PICTURE})
    (tmp_path / "l.csv").write_text("path,label\na/1.jpg,cat\nb/1.jpg,dog\n2.png,dog\nc/2.jpg,cat\n")
    assert labels(source, table=str(tmp_path / "l.csv"))[0] == {"c/1.jpg": None, "c/2.jpg": "cat"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "", "it is empty"),
        ("l.csv", "path,label\n", "it has no row"),
        ("l.csv", "name,width,height\na,1,2\n", "unclear which of the columns name, width, height"),
        ("l.csv", "one\ntwo\n", "has one column"),
        ("l.csv", b"path,label\n1.jpg,k\xe4fer\n", "is not UTF-8"),
        ("l.jsonl", '{"path": "1.jpg"', "Expecting|delimiter"),
        ("l.jsonl", '{"label": "cat"}', "an object has no path, but label"),
        (
            "captions.json",
            '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1}]}',
            "no key",
        ),
    ],
)
def test_label_file_that_cannot_be_used_is_a_usage_error(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        by_table(tmp_path, name, text)
    assert str(caught.value).startswith("--labels-from")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_label_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--labels-from 'no\.csv': No such file"):
        Labelling.of(LabelFlags(table="no.csv"), str(tmp_path))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("folder", ["images", "1"]),
        ("folder:-1", ["images", "1"]),
        ("folder:-2", ["n01", "n02"]),
        ("folder:-3", ["train", "train"]),
        ("folder:-4", ["in", "in"]),
        ("folder:-5", [None, None]),
        ("folder:1", ["train", "train"]),
        ("folder:2", ["n01", "n02"]),
        ("folder:4", [None, None]),
    ],
)
def test_label_is_the_name_of_the_nth_folder(tmp_path: Path, flag: str, expected: list[str | None]) -> None:
    labelling = Labelling.of(LabelFlags(folder=flag), "in")
    names = ["train/n01/images/x.jpg", "train/n02/1/y.jpg"]
    assert [labelling.label_of(name, "in") for name in names] == expected


@pytest.mark.parametrize("flag", ["folder:0", "folder:x", "parent", "folder:", "folder:-100"])
def test_wrong_folder_is_a_usage_error(flag: str) -> None:
    with pytest.raises(UsageError, match=f"--label-from '{flag}': write folder:-2"):
        Labelling.of(LabelFlags(folder=flag), "in")


def test_two_sources_of_labels_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--label-pattern and --label-from both say"):
        Labelling.of(LabelFlags(pattern="(?P<label>x)", folder="folder:-2"), "in")


def test_label_map_replaces_names_and_leaves_pictures_out(tmp_path: Path) -> None:
    source = foldered(
        tmp_path / "in", {"猫/1.jpg": PICTURE, "Cre\u0300me/2.jpg": PICTURE, "rest/3.jpg": PICTURE}
    )
    (tmp_path / "names.csv").write_text("from,to\n猫,Cat\nCrème,Dessert\nrest,\n")
    found, skipped = labels(source, names=str(tmp_path / "names.csv"))
    assert sorted(filter(None, found.values())) == ["Cat", "Dessert"]
    assert skipped.names == {"left out by --label-map": ["rest/3.jpg"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("猫\n", "row 1, '猫', is not name,label"),
        ("猫,猫\n", "row 1: '猫' has no letter a–z"),
        ("猫,cat\n猫,dog\n", "two rows for '猫': 'cat' and 'dog'"),
    ],
)
def test_label_map_that_cannot_be_used_is_a_usage_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        Labelling.of(LabelFlags(names=str(tmp_path / "names.csv")), "in")
