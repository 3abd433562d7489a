"""Notes of erasures that people have asked for."""

from pathlib import Path

from conf.sections import Lake
from conf.settings import Settings
from lake.storage import Storage
from streaming import erasure_requests


def test_a_request_waits_until_it_ends_with_a_report_that_names_nobody(
    settings: Settings, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    assert erasure_requests.waiting(own) == []
    for user in ("bert", "anna", "bert", "../guest:1"):
        erasure_requests.ask(own, user)
    assert erasure_requests.waiting(own) == ["../guest:1", "anna", "bert"]
    erasure_requests.end(own, "bert", ["model m-1: trained on such a dataset"])
    assert erasure_requests.waiting(own) == ["../guest:1", "anna"]
    assert not erasure_requests.waits(own, "bert") and erasure_requests.waits(own, "anna")
    reports = Storage(own.lake.at("erasures", "reports"), own.s3)
    (name,) = reports.list_files()
    assert reports.read_json(name)["out_of_reach"] == ["model m-1: trained on such a dataset"]
    assert b"bert" not in reports.read(name)
