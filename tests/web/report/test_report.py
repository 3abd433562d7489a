"""The HTML report: previews of hostile uploads are safe, and their texts are escaped."""

from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.errors import UsageError
from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake.snapshot import Split
from lake.storage import Storage
from models.runs.train import TrainedModel, load_snapshot
from organize.datasets.dataset import organize
from streaming.ingestion import Ingestion, IngestReport
from tests.support import pictures
from tests.support.uploads import send, upload
from web.pictures.specimen import hexdump, preview
from web.report import report
from web.report.dataset import DatasetSummary


def test_a_truncated_picture_is_shown_as_a_picture() -> None:
    content = pictures.jpeg(200, 150)
    assert preview(content[: len(content) // 2]).jpeg is not None


@pytest.mark.parametrize(
    "payload",
    [
        pictures.png_claiming(50_000, 50_000),
        pictures.with_scans(pictures.jpeg(progressive=True), 500),
        b"%PDF-1.7 <script>alert(1)</script>",
    ],
)
def test_unsafe_payloads_are_shown_as_a_hex_dump(payload: bytes) -> None:
    shown = preview(payload)
    assert shown.jpeg is None
    assert shown.hexdump.startswith(payload[:8].hex(" "))


def test_hexdump_layout() -> None:
    assert hexdump(b"\x89PNG\r\n\x1a\nAB") == "89 50 4e 47 0d 0a 1a 0a  .PNG....\n41 42                    AB"


@pytest.mark.services
def test_the_page_shows_labels_and_rejected_examples_and_escapes_untrusted_text(
    spark: SparkSession, settings: Settings, kafka: Kafka, tmp_path: Path
) -> None:
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    labels = settings.labels.model_copy(update={"ready_images": 20})
    lake = Lake(root=str(tmp_path / "lake"))
    own = settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest, "labels": labels})
    script = "<script>alert(1)</script>"
    good = [upload(number, label=("cat", "dog")[number % 2]) for number in range(60)]
    cut = pictures.encoded(pictures.noise(200, 150), "JPEG")[:2000]
    bad = [upload(90, label=script), upload(91, content=cut), upload(92, content=b"")]
    send(kafka, [*good[:30], *bad, *good[30:]])
    Ingestion(spark, own, kafka.bootstrap).once(IngestReport())

    organized = organize(spark, own)
    made = report.load(spark, own, "tests")
    uploads, page = made.uploads, report.render(made)

    assert made.dataset == replace(DatasetSummary.of(organized), left_out={})
    assert made.training is None
    assert uploads
    assert (uploads.submitted, uploads.accepted, uploads.rejected) == (63, 60, 3)
    assert {label: len(shown) for label, shown in uploads.samples.items()} == {"cat": 8, "dog": 8}
    examples = {example.reason: example for example in uploads.rejected_examples}
    assert set(examples) == {"bad_label", "truncated", "empty"}
    assert examples["truncated"].picture.jpeg is not None
    assert script not in page
    assert "&lt;script&gt;" in page
    assert page.count('src="data:image/jpeg;base64,') == 16 + 2
    assert "http" not in page.replace("http-equiv", "")
    with pytest.raises(UsageError, match=r"no batch 'monday': the newest are tests; and no model 'monday'"):
        report.load(spark, own, "monday")


@pytest.mark.parametrize(
    ("subject", "name"),
    [("digits-1", "digits-1.html"), ("../up", "_._up.html"), ("a/b\n", "a_b_.html"), ("Ä 1", "Ä 1.html")],
)
def test_a_page_is_one_file_in_its_folder_whatever_the_batch_is_called(
    settings: Settings, tmp_path: Path, subject: str, name: str
) -> None:
    path = report.write(report.Report(subject), Storage(str(tmp_path / "pages"), settings.s3))
    assert path == str(tmp_path / "pages" / name)
    assert [file.name for file in (tmp_path / "pages").iterdir()] == [name]


@pytest.mark.services
def test_the_report_of_a_model_shows_its_dataset_training_and_mistakes(
    settings: Settings, cluster: SparkSession, digits_model: TrainedModel
) -> None:
    made = report.load(cluster, settings, digits_model.model_id)
    assert made.uploads is None
    assert made.dataset
    assert made.dataset.totals == {
        split: load_snapshot(settings, "digits").row_count(split) for split in Split
    }
    assert made.training
    assert made.training.epochs == 5
    page = report.render(made)
    assert page.count('src="data:image/png;base64,') == 2
    assert digits_model.model_id in page
    assert "Accepted, by label" not in page
