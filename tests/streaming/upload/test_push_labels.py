"""What cannot be a label is said before anything is sent; every file of a source is sent or counted."""

from collections import Counter
from pathlib import Path

import pytest

from conf.settings import Settings
from lake.label_slug import label_slug
from streaming.errors import BadSource, UnusableLabels
from streaming.upload import push_request
from streaming.upload.push_request import PushRequest
from tests.support.archives import PICTURE, foldered, tarred, zipped
from tests.support.sent import header, producer_records

NAMES = (
    "001.Black_footed_Albatross",
    "Pepper,_bell___Bacterial_spot",
    "Corn_(maize)___Common_rust_",
    "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris",
    "Crème brûlée",
    "jack-o'-lantern",
    "Apple Red 1",
)


def classes(*names: str) -> dict[str, bytes]:
    return {f"set/{name}/{n}.jpg": PICTURE for name in names for n in range(2)}


def problem(request: PushRequest, settings: Settings) -> str:
    with pytest.raises(UnusableLabels) as caught:
        push_request.records(request, settings)  # raised by the call, before the first record
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value)
    assert not request.labels
    return str(caught.value)


@pytest.mark.parametrize("make", [foldered, zipped, tarred])
def test_names_of_well_known_datasets_are_sent_as_they_are_written(
    make: object, settings: Settings, tmp_path: Path
) -> None:
    request = PushRequest(str(make(tmp_path / "in", classes(*NAMES))), "b")  # type: ignore[operator]
    sent = Counter(header(record, "ce_label") for record in producer_records(request, settings))
    assert sent == request.labels == dict.fromkeys(NAMES, 2)
    assert len({label_slug(name) for name in NAMES}) == len(NAMES)
    assert not request.notes


@pytest.mark.parametrize("make", [foldered, zipped, tarred])
def test_names_without_a_slug_are_said_before_anything_is_sent(
    make: object, settings: Settings, tmp_path: Path
) -> None:
    source = make(tmp_path / "in", classes("cat", "dog", "猫", "犬", "🐈", "кот"))  # type: ignore[operator]
    said = problem(PushRequest(str(source), "b"), settings)
    assert "4 of 6 names cannot be labels" in said
    assert said.count("has no letter") == 3, "the first three"
    assert "--label-map FILE.csv" in said


def test_line_for_the_map_is_quoted_where_a_csv_needs_it(settings: Settings, tmp_path: Path) -> None:
    source = foldered(tmp_path / "in", classes("cat", "猫, 犬"))
    assert '`"猫, 犬",NAME`' in problem(PushRequest(str(source), "b"), settings)
    (tmp_path / "map.csv").write_text('"猫, 犬",pet\n')
    request = PushRequest(str(source), "b", label_map=str(tmp_path / "map.csv"))
    producer_records(request, settings)
    assert request.labels == {"cat": 2, "pet": 2}


def test_names_without_a_slug_can_be_mapped(settings: Settings, tmp_path: Path) -> None:
    source = foldered(tmp_path / "in", classes("cat", "猫", "犬"))
    (tmp_path / "map.csv").write_text("猫,cat\n犬,\n")
    request = PushRequest(str(source), "b", label_map=str(tmp_path / "map.csv"))
    assert [header(record, "ce_label") for record in producer_records(request, settings)] == ["cat"] * 4
    assert request.skipped.counts == {"left out by --label-map": 2}


def test_labels_that_the_list_does_not_have_are_said_where_labels_are_closed(
    settings: Settings, tmp_path: Path
) -> None:
    labels = settings.labels.model_copy(update={"mode": "closed"})
    source = str(foldered(tmp_path / "in", classes("cat", "unicorn")))
    closed = settings.model_copy(update={"labels": labels})
    assert "1 of 2 names cannot be labels: 'unicorn', slug unicorn, is not in labels.file" in problem(
        PushRequest(source, "b"), closed
    )
    assert len(producer_records(PushRequest(source, "b"), settings)) == 4


def test_names_that_are_one_label_are_noted(settings: Settings, tmp_path: Path) -> None:
    request = PushRequest(str(foldered(tmp_path / "in", classes("Black Cat", "black-cat", "black_cat"))), "b")
    assert len(producer_records(request, settings)) == 6
    assert request.notes == ["'Black Cat', 'black_cat' are one label: black_cat"]


def test_single_label_is_noted(settings: Settings, tmp_path: Path) -> None:
    request = PushRequest(str(foldered(tmp_path / "cat", {"1.jpg": PICTURE, "2.jpg": PICTURE})), "b")
    assert len(producer_records(request, settings)) == 2
    assert request.notes == ["all pictures have the label 'cat'"]


def test_label_for_each_picture_is_noted(settings: Settings, tmp_path: Path) -> None:
    members = {f"patient {n}/scan.png": PICTURE for n in range(10)}
    request = PushRequest(str(foldered(tmp_path / "in", members)), "b")
    assert len(producer_records(request, settings)) == 10
    assert request.notes == ["every picture has a label of its own: --label-from names another folder"]


@pytest.mark.parametrize("make", [foldered, zipped])
def test_layout_without_class_folders_is_refused_with_what_works(
    make: object, settings: Settings, tmp_path: Path
) -> None:
    members = {f"train/n0{k}/images/n0{k}_{n}.JPEG": PICTURE for k in range(3) for n in range(3)}
    source = make(tmp_path / "tiny", members | {"val/images/val_0.JPEG": PICTURE})  # type: ignore[operator]
    said = problem(PushRequest(str(source), "b"), settings)
    assert "the labels would be 'images' (10 pictures)" in said
    assert "--label-from folder:-2, with the lines `val,` in --label-map" in said
    assert "'val' (1 pictures)" in problem(PushRequest(str(source), "b", label_from="folder:-2"), settings)
    (tmp_path / "map.csv").write_text("val,\n")
    request = PushRequest(str(source), "b", label_from="folder:-2", label_map=str(tmp_path / "map.csv"))
    assert len(producer_records(request, settings)) == 9
    assert request.labels == {"n00": 3, "n01": 3, "n02": 3}
    assert request.skipped.counts == {"left out by --label-map": 1}


def test_layout_names_are_labels_if_the_map_says_so(settings: Settings, tmp_path: Path) -> None:
    source = foldered(tmp_path / "in", {"photos/1.jpg": PICTURE, "pictures/2.jpg": PICTURE})
    problem(PushRequest(str(source), "b"), settings)
    (tmp_path / "map.csv").write_text("photos,photos\npictures,pictures\n")
    request = PushRequest(str(source), "b", label_map=str(tmp_path / "map.csv"))
    assert len(producer_records(request, settings)) == 2


def test_flat_folder_with_a_label_file_names_it(settings: Settings, tmp_path: Path) -> None:
    members = {f"train/{n:08x}.jpg": PICTURE for n in range(3)}
    source = foldered(
        tmp_path / "dogs", members | {"labels.csv": b"id,breed\n00000000,boxer\n00000001,pug\n"}
    )
    assert "Try --labels-from labels.csv" in problem(PushRequest(str(source), "b"), settings)
    request = PushRequest(str(source), "b", labels_from="labels.csv")
    assert len(producer_records(request, settings)) == 2
    assert (request.labels, request.skipped.counts) == (
        {"boxer": 1, "pug": 1},
        {"no picture by its ending": 1, "no label": 1},
    )


def test_one_label_beside_a_label_file_is_refused(settings: Settings, tmp_path: Path) -> None:
    source = foldered(tmp_path / "breeds", {"1.jpg": PICTURE, "2.jpg": PICTURE, "train.csv": b"path,label\n"})
    assert "the labels would be 'breeds' (2 pictures)" in problem(PushRequest(str(source), "b"), settings)


def test_row_that_fits_two_pictures_is_refused(settings: Settings, tmp_path: Path) -> None:
    source = foldered(tmp_path / "in", {"a/1.jpg": PICTURE, "b/1.jpg": PICTURE})
    (tmp_path / "l.csv").write_text("path,label\n1.jpg,cat\n")
    said = problem(PushRequest(str(source), "b", labels_from=str(tmp_path / "l.csv")), settings)
    assert "row '1.jpg'" in said
    assert "'a/1.jpg' and 'b/1.jpg': write their whole paths" in said


def test_rows_that_name_no_picture_are_noted(settings: Settings, tmp_path: Path) -> None:
    source = foldered(tmp_path / "in", {"a/1.jpg": PICTURE, "a/2.jpg": PICTURE})
    rows = "1.jpg,cat\n2.jpg,dog\n2.jpg,cat\n3.jpg,dog\n4.jpg,dog\n"  # one picture has two labels
    (tmp_path / "l.csv").write_text(f"path,label\n{rows}")
    request = PushRequest(str(source), "b", labels_from=str(tmp_path / "l.csv"))
    producer_records(request, settings)
    assert request.notes == [f"2 rows of {tmp_path}/l.csv name no picture of the source"]
    assert request.skipped.names == {"several labels": ["a/2.jpg"]}


def test_source_whose_pictures_all_have_several_labels_says_what_helps(
    settings: Settings, tmp_path: Path
) -> None:
    source = foldered(tmp_path / "in", {"1.jpg": PICTURE})
    (tmp_path / "l.csv").write_text("path,label\n1.jpg,cat\n1.jpg,dog\n")
    with pytest.raises(
        BadSource, match=r"several labels\): give one label for each picture, or .*--label-map"
    ):
        push_request.records(PushRequest(str(source), "b", labels_from=str(tmp_path / "l.csv")), settings)


def test_label_of_a_picture_that_comes_after_the_check_is_counted_not_sent(
    settings: Settings, tmp_path: Path
) -> None:
    source = foldered(tmp_path / "in", classes("cat"))
    request = PushRequest(str(source), "b")
    records = push_request.records(request, settings)
    foldered(source, {"猫/1.jpg": PICTURE})
    assert len(list(records)) == 2
    assert request.skipped.names == {"what cannot be a label": ["猫/1.jpg"]}


def test_dry_run_counts_what_a_push_sends_and_leaves_out(settings: Settings, tmp_path: Path) -> None:
    members = classes("Cat", "cat", "dog") | {"set/notes.txt": b"", "set/cat/x.jpg?1": b"text"}
    source = zipped(tmp_path / "in.zip", members)
    survey = push_request.dry_run(PushRequest(str(source), "b"), settings)
    sent = PushRequest(str(source), "b")
    producer_records(sent, settings)
    assert survey.labels == sent.labels == {"Cat": 2, "cat": 2, "dog": 2}
    assert survey.skipped.counts == sent.skipped.counts
    assert survey.skipped.names == sent.skipped.names
    assert survey.slugs() == {"cat": ["Cat", "cat"], "dog": ["dog"]}
    assert survey.problem() is None
    assert push_request.dry_run(PushRequest(str(source), "b", limit=3), settings).labels.total() == 3


def test_dry_run_of_names_that_cannot_be_labels_says_so(settings: Settings, tmp_path: Path) -> None:
    survey = push_request.dry_run(
        PushRequest(str(foldered(tmp_path / "in", classes("cat", "猫"))), "b"), settings
    )
    assert survey.labels == {"cat": 2, "猫": 2}
    assert set(survey.problems) == {"猫"}
    assert "1 of 2 names cannot be labels" in (survey.problem() or "")


def test_source_of_unlabelled_pictures_suggests_a_flag(settings: Settings, tmp_path: Path) -> None:
    source = zipped(
        tmp_path / "a.zip", {f"{kind}.{n}.jpg": PICTURE for kind in ("cat", "dog") for n in range(3)}
    )
    with pytest.raises(
        BadSource, match=r"no picture has a label.*try --label-pattern '.*' \(labels cat, dog\)"
    ):
        push_request.records(PushRequest(str(source), "b"), settings)
