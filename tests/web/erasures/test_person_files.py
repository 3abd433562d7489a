"""The files of the web server forget a person: votes, trainings, receipts; others' entries stay."""

from pathlib import Path

from conf.settings import Settings
from lake.table import Table
from organize.review.decisions import Kind, Wish
from tests.web import lakes
from web.decisions.votes import Votes
from web.erasures import person_files
from web.trainings.training_request import TrainingRequest
from web.trainings.training_store import TrainingStore
from web.uploads.receipts import Receipt, Receipts

GONER = "user-to-be-forgotten"


def _names(folder: Path) -> list[str]:
    """Files that contain the name, in whatever page."""
    return [file.name for file in folder.iterdir() if GONER.encode() in file.read_bytes()]


def test_no_file_names_the_person_and_others_stay(own: Settings) -> None:
    (kept,) = [lakes.sample_row(1)]
    lakes.append(own, Table.SAMPLES, [kept])
    folder = own.web.dir
    votes = Votes(folder / "votes.db", 2)
    there, lost = Wish(kept["image_id"], Kind.KEEP, None), Wish("0" * 64, Kind.KEEP, None)
    votes.vote([there, lost], GONER)
    votes.vote([there, lost], "anna")
    trainings = TrainingStore(folder / "trainings.db")
    asked = trainings.add(TrainingRequest(labels=["cat", "dog"]), GONER)
    receipts = Receipts(folder / "receipts.db")
    for name, user in (("one", GONER), ("two", "anna")):
        receipts.add(Receipt(name, user, "phone-7", None, "cat", "2100-01-01T00:00:00+00:00"))
    assert len(_names(folder)) >= 3

    person_files.forget(own, GONER)
    person_files.forget(own, GONER)

    assert _names(folder) == []
    assert votes.voted("anna") == {kept["image_id"]}, "a vote on a picture that is gone goes with it"
    found = trainings.get(asked.training_id)
    assert found is not None and (found.user, found.request.labels) == ("", ["cat", "dog"])
    assert receipts.ids() == ["two"]


def test_files_that_were_never_made_are_not_made(own: Settings) -> None:
    person_files.forget(own, GONER)
    assert not own.web.dir.exists()
