"""`hub labels`, `hub review`, `hub relabel` and `hub clusters`, without Spark."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf import settings as configuration
from conf.settings import Settings
from jobs.cli.command import run
from jobs.hub import hub as hub_group
from lake import row_writer
from lake.schemas import LABEL_CONFLICT
from lake.spark import session
from lake.table import Table
from models.evaluation import artifacts
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from organize.features.vectors import STORED
from tests.support import pictures

Hub = Callable[..., tuple[int, Any, str]]  # exit status, JSON or text, standard error

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def own(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake with a doubted cat, one that was uploaded twice and a dog; starting Spark fails the test."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("Spark was started")

    listed = tmp_path / "labels.csv"
    listed.write_text("label,parent,display_name,aliases\nanimal,,Animal,\ncat,animal,House cat,Kitty\n")
    monkeypatch.setattr(session, "start", fail)
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "lake"))
    monkeypatch.setenv("HUB__LABELS__FILE", str(listed))
    monkeypatch.setenv("HUB__LABELS__READY_IMAGES", "3")
    made = configuration.load()
    common = {"label_source": "claimed", "split": "train"}
    doubted = {"label_quality": 0.03, "suggested_label": "dog", "label_reason": "a probe: dog 90%, cat 3%"}
    row_writer.append(
        made,
        Table.SAMPLES,
        {"image_id": A, "label": "cat", "flags": [], "cluster": "cat-1", "cluster_distance": 0.1}
        | doubted
        | common,
        {"image_id": B, "label": "cat", "flags": [LABEL_CONFLICT], "duplicate_group": "g"} | common,
        {"image_id": C, "label": "dog", "flags": [], "label_quality": 0.9} | common,
    )
    uploads = [(A, "cat"), (B, "cat"), (B, "owl"), (C, "dog")]
    row_writer.append(
        made,
        Table.UPLOADS,
        *[
            {"image_id": image_id, "label": label, "verdict": "accepted", "topic": "t", "partition": 0,
             "offset": offset, "event_time": datetime(2026, 11, 1, offset, tzinfo=UTC),
             "thumbnail": pictures.jpeg(seed=offset)}
            for offset, (image_id, label) in enumerate(uploads)
        ],
    )  # fmt: skip
    return made


@pytest.fixture
def hub(own: Settings, capsys: pytest.CaptureFixture[str]) -> Hub:
    """Run `hub …` in this process."""

    def call(*arguments: str) -> tuple[int, Any, str]:
        with pytest.raises(SystemExit) as left:
            run(hub_group, list(arguments))
        captured = capsys.readouterr()
        text = json.loads(captured.out) if "--json" in arguments and captured.out else captured.out
        assert isinstance(left.value.code, int)
        return left.value.code, text, captured.err

    return call


def labels_of(own: Settings) -> dict[str, tuple[str, str]]:
    rows = row_writer.read(own, Table.SAMPLES, ("image_id", "label", "label_source"))
    return {row["image_id"]: (row["label"], row["label_source"]) for row in rows}


def test_review_decide_and_undo(hub: Hub, own: Settings, tmp_path: Path) -> None:
    status, found, _ = hub("review", "--to", str(tmp_path / "out"), "--json")
    assert status == 0
    assert [(each["image_id"], each["label"], each["suggested_label"]) for each in found["doubtful"]] == [
        (B, "cat", None),
        (A, "cat", "dog"),
    ]
    assert found["doubtful"][0]["reason"] == "uploaded as cat and as owl"
    assert found["waiting"] == 2 and Path(found["page"]).read_text().count("data:image/jpeg") == 2

    with Path(found["csv"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["decision"] = {A: "accept", B: "Kitty"}[row["image_id"]]
    decided = tmp_path / "decided.csv"
    with decided.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    status, done, _ = hub("relabel", str(decided), "--user", "ann", "--json")
    assert (status, done["decided"], done["kinds"], done["user"]) == (0, 2, {"relabel": 2}, "ann")
    assert labels_of(own) == {A: ("dog", "corrected"), B: ("cat", "checked"), C: ("dog", "claimed")}
    assert hub("review", "--to", str(tmp_path / "out"), "--json")[1]["doubtful"] == []
    assert "no label is doubted" in hub("review", "--to", str(tmp_path / "out"))[1]
    _, text, _ = hub("relabel", str(decided), "--user", "ann")
    assert "0 decisions" in text and "2 were decided so before" in text
    assert hub("relabel", "--undo", done["decision_id"])[0] == 0
    assert labels_of(own)[A] == ("cat", "claimed")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image_id,label\nunknown,dog\n", "no sample has the image id 'unknown'"),
        ("image_id,label\n" + A + ",\n", "line 2: 'relabel' needs a label"),
        ("picture,label\n", "its first line must name image_id"),
    ],
)
def test_a_wrong_file_changes_nothing(
    hub: Hub, own: Settings, tmp_path: Path, content: str, message: str
) -> None:
    before = labels_of(own)
    file = tmp_path / "wrong.csv"
    file.write_text(content)
    status, text, error = hub("relabel", str(file))
    assert status == 2 and not text and message in error and error.count("\n") == 1
    assert labels_of(own) == before


def test_relabel_names_labels_that_there_were_not_before(own: Settings, hub: Hub, tmp_path: Path) -> None:
    """`none` is no decision, so it is a label."""
    file = tmp_path / "decisions.csv"
    file.write_text(f"image_id,decision\n{A},none\n{C},Kitty\n")
    _, text, _ = hub("relabel", str(file), "--user", "ann")
    assert "labels that there were not before: none (1)" in text
    file.write_text(f"image_id,decision\n{B},none\n")
    assert hub("relabel", str(file), "--user", "ann", "--json")[1]["new_labels"] == {}


def test_relabel_needs_a_file_or_an_id(hub: Hub, tmp_path: Path) -> None:
    assert "give a FILE of decisions, or --undo ID" in hub("relabel")[2]
    assert "cannot read" in hub("relabel", str(tmp_path / "none.csv"))[2]
    assert "no decision 'dec-1': there is none yet" in hub("relabel", "--undo", "dec-1")[2]


def test_labels_are_listed_watched_and_wanted(hub: Hub, own: Settings) -> None:
    _, found, _ = hub("labels", "--json")
    assert [(each["label"], each["depth"], each["images"]) for each in found["labels"]] == [
        ("animal", 0, 0), ("cat", 1, 1), ("dog", 0, 1),
    ]  # fmt: skip
    status, watched, _ = hub("labels", "watch", "Kitty", "--user", "u-17", "--json")
    assert (status, watched["label"], watched["changed"]) == (0, "cat", True)
    assert hub("labels", "watch", "cat", "--user", "u-17")[1] == "u-17 was already waiting for cat\n"
    hub("labels", "watch", "kiwi", "--user", "u-18")
    card = ModelCard("m-1", "ds-1", "resnet20", 32, ("cat", "dog"))
    model_cards.write_card(own, card)
    files = model_cards.artifact_storage(own, "m-1")
    files.write_json(artifacts.EVALUATION, {"labels": ["cat", "dog"], "confusion": [[6, 4], [0, 9]]})
    wanted = hub("labels", "wanted", "--json")[1]["wanted"]
    assert [(each["label"], each["need"], each["images"]) for each in wanted] == [
        ("cat", "watched", 2), ("kiwi", "watched", 3), ("cat", "confused", None),
    ]  # fmt: skip
    text = hub("labels", "wanted")[1]
    assert "m-1 takes 40% of its pictures for dog" in text and "1 waiting; it has 1 of 3 images" in text
    assert hub("labels", "unwatch", "kiwi", "--user", "u-18", "--json")[1]["changed"]
    assert "1 watching" in hub("labels")[1] and "kiwi" not in hub("labels")[1]
    assert "label 'a/b' contains a path separator" in hub("labels", "watch", "a/b")[2]
    assert "--user is empty" in hub("labels", "watch", "cat", "--user", " ")[2]


def test_labels_that_the_file_does_not_list_are_placed(hub: Hub, own: Settings) -> None:
    assert hub("labels", "place", "dog", "--under", "Animal")[1] == "dog is now below animal\n"
    assert hub("labels", "place", "dog", "--under", "animal", "--json")[1]["changed"] is False
    assert hub("labels", "place", "pug", "--under", "dog")[0] == 0
    listed = hub("labels", "--json")[1]["labels"]
    assert [(each["label"], each["depth"]) for each in listed] == [
        ("animal", 0), ("cat", 1), ("dog", 1), ("pug", 2),
    ]  # fmt: skip
    assert "--under pug: it is dog or lies below it" in hub("labels", "place", "dog", "--under", "pug")[2]
    assert "label 'cat' is listed in" in hub("labels", "place", "kitty")[2]
    assert hub("labels", "place", "pug")[1] == "pug is now at the top\n"


def test_clusters_are_listed_and_drawn(hub: Hub, own: Settings, tmp_path: Path) -> None:
    status, _, error = hub("clusters")
    assert status == 2 and "there are no clusters yet: run `hub organize --once`" in error
    centroid = np.eye(1, 4).astype(STORED).tobytes()
    common = {"model_id": "m", "centroid": centroid, "radius": 0.5, "common_label": "cat"}
    row_writer.append(
        own,
        Table.CLUSTERS,
        {"cluster": "cat-1", "label": "cat", "size": 1, "common_share": 1.0} | common,
        {"cluster": "all-1", "label": None, "size": 3, "common_share": 0.66} | common,
    )
    far = {"image_id": C, "overall_cluster": "all-1", "overall_distance": 0.81, "overall_outlier": True}
    row_writer.update(own, Table.SAMPLES, "image_id", far)
    _, found, _ = hub("clusters", "--label", "all", "--sheet", str(tmp_path / "sheets"), "--json")
    assert [(each["cluster"], each["outliers"]) for each in found["clusters"]] == [("all-1", 1)]
    assert (tmp_path / "sheets" / "all-1.png").read_bytes().startswith(b"\x89PNG")
    _, found, _ = hub("clusters", "--label", "cat", "--sheet", str(tmp_path / "sheets"), "--json")
    assert [(each["cluster"], each["size"], each["outliers"]) for each in found["clusters"]] == [
        ("cat-1", 1, 0)
    ]
    assert (tmp_path / "sheets" / "cat-1.png").read_bytes().startswith(b"\x89PNG")
    text = hub("clusters")[1]
    assert "(all)" in text and "cat 66%" in text
    assert (
        "--label 'yak' has no clusters; there are those of all, cat" in hub("clusters", "--label", "yak")[2]
    )
