"""Exports, each read back by the library that it is for."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conf.sections import Lake
from conf.settings import Settings
from lake.errors import DamagedSnapshot
from lake.snapshot import DatasetSnapshot, Split
from lake.storage import Storage
from models.errors import ExportRefused
from organize.datasets.exports.export import MANIFEST, Format, export
from organize.datasets.exports.pictures import pictures
from tests.support import tiny
from tests.support.commands import ROOT
from tests.support.s3server import Bucket

DATASET = "ds-export"
ROWS = (40, 6, 5)


@pytest.fixture(scope="module")
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    lake = Lake(root=str(tmp_path_factory.mktemp("exports") / "lake"))
    own = settings.model_copy(update={"lake": lake})
    tiny.snapshot(own, DATASET, ROWS, shard_rows=16)
    return own


@pytest.fixture(scope="module")
def expected(own: Settings) -> dict[str, dict[str, tuple[str, bytes]]]:
    """Split to image id to label and JPEG."""
    snapshot = DatasetSnapshot.load(Storage(own.lake.at("snapshots", DATASET), own.s3))
    return {
        split.value: {each.image_id: (each.label, each.jpeg) for each in pictures(snapshot, split)}
        for split in Split
    }


def test_a_folder_has_a_folder_for_each_split_and_label(
    own: Settings, expected: dict[str, Any], tmp_path: Path
) -> None:
    done = export(own, DATASET, Format.FOLDER, str(tmp_path / "out"))
    assert (done.images, done.path) == (sum(ROWS), str(tmp_path / "out"))
    for split, images in expected.items():
        files = {path.stem: path for path in (tmp_path / "out" / split).rglob("*.jpg")}
        assert {name: (path.parent.name, path.read_bytes()) for name, path in files.items()} == images
    assert (tmp_path / "out" / "test.csv").read_text().splitlines()[0] == "path,label,image_id"
    assert (tmp_path / "out" / "labels.txt").read_text().split() == list(tiny.LABELS)
    assert not list(tmp_path.glob(".*")), "the hidden folder is gone"


def test_tensorflow_reads_tfrecords(own: Settings, expected: dict[str, Any], tmp_path: Path) -> None:
    import tensorflow as tf

    export(own, DATASET, Format.TFRECORD, str(tmp_path / "out"))
    spec = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
        "image/class/text": tf.io.FixedLenFeature([], tf.string),
        "image/id": tf.io.FixedLenFeature([], tf.string),
    }
    for split, images in expected.items():
        files = sorted(map(str, (tmp_path / "out").glob(f"{split}-*-of-*.tfrecord")))
        found = {}
        for record in tf.data.TFRecordDataset(files):
            example = tf.io.parse_single_example(record, spec)
            label = example["image/class/text"].numpy().decode()
            assert tiny.LABELS[int(example["image/class/label"])] == label
            assert tf.io.decode_jpeg(example["image/encoded"]).shape == (40, 40, 3)
            found[example["image/id"].numpy().decode()] = (label, example["image/encoded"].numpy())
        assert found == images


def test_webdataset_reads_tars(own: Settings, expected: dict[str, Any], tmp_path: Path) -> None:
    import webdataset

    export(own, DATASET, Format.WEBDATASET, str(tmp_path / "out"))
    for split, images in expected.items():
        urls = sorted(map(str, (tmp_path / "out").glob(f"{split}-*.tar")))
        raw = webdataset.WebDataset(urls, shardshuffle=False)
        assert {each["__key__"]: each["jpg"] for each in raw} == {
            name: jpeg for name, (_, jpeg) in images.items()
        }
        decoded = webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg", "cls", "json")
        for picture, index, about in decoded:
            assert picture.size == (40, 40)
            assert tiny.LABELS[index] == about["label"] == images[about["image_id"]][0]


def test_hugging_face_datasets_reads_parquet(own: Settings, expected: dict[str, Any], tmp_path: Path) -> None:
    export(own, DATASET, Format.HUGGINGFACE, str(tmp_path / "out"))
    # In a process of its own: it caches and reports to the network unless it is told not to.
    code = (
        "import json, sys, datasets\n"
        "loaded = datasets.load_dataset(sys.argv[1])\n"
        "print(json.dumps({split: {row['image_id']: [rows.features['label'].int2str(row['label']),"
        " list(row['image'].size)] for row in rows} for split, rows in loaded.items()}))"
    )
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        capture_output=True, text=True, timeout=120, env=environment, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        split: {name: [label, [40, 40]] for name, (label, _) in images.items()}
        for split, images in expected.items()
    }
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\nlicense: ")


def test_pycocotools_reads_coco(own: Settings, expected: dict[str, Any], tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    export(own, DATASET, Format.COCO, str(tmp_path / "out"))
    for split, images in expected.items():
        coco = COCO(str(tmp_path / "out" / "annotations" / f"instances_{split}.json"))
        names = {each["id"]: each["name"] for each in coco.loadCats(coco.getCatIds())}
        assert list(names.values()) == list(tiny.LABELS)
        found = {}
        for image in coco.loadImgs(coco.getImgIds()):
            (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            content = (tmp_path / "out" / "images" / split / image["file_name"]).read_bytes()
            assert Image.open(io.BytesIO(content)).size == (image["width"], image["height"])
            assert annotation["bbox"] == [0, 0, image["width"], image["height"]]
            found[Path(image["file_name"]).stem] = (names[annotation["category_id"]], content)
        assert found == images


def test_the_same_dataset_gives_the_same_bytes(own: Settings, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(own, DATASET, Format.WEBDATASET, str(tmp_path / name))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_target_that_is_not_empty_is_refused_and_unchanged(own: Settings, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ExportRefused, match="exists and is not empty"):
        export(own, DATASET, Format.FOLDER, str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert export(own, DATASET, Format.COCO, str(tmp_path / "empty")).images == sum(ROWS)


def test_an_altered_shard_leaves_nothing_half_written(own: Settings, tmp_path: Path) -> None:
    damaged = own.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    tiny.snapshot(damaged, DATASET, ROWS, shard_rows=16)
    shard = Path(damaged.lake.at("snapshots", DATASET, "validation", "00000.parquet"))
    content = bytearray(shard.read_bytes())
    content[500] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamagedSnapshot, match=r"shard validation/00000\.parquet"):
        export(damaged, DATASET, Format.FOLDER, str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


_KILLED = """
import os, signal, sys
from importlib import import_module
from conf import settings as configuration
from organize.datasets.exports import export

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

module, name = sys.argv[1].split(":")
setattr(import_module(module), name, kill)
export.export(configuration.load(), sys.argv[2], export.Format.FOLDER, sys.argv[3])
"""


@pytest.mark.faults
@pytest.mark.parametrize(
    "moment",
    ["models.inference.export_target:Path", "organize.datasets.cards.card:files", "json:dumps"],
    ids=["at the beginning", "the pictures are written", "the card is being written"],
)
def test_a_killed_export_leaves_nothing_at_its_target_and_can_be_repeated(
    own: Settings, tmp_path: Path, moment: str
) -> None:
    target = tmp_path / "export"
    command = [sys.executable, "-c", _KILLED, moment, DATASET, str(target)]
    environment = os.environ | {"HUB__LAKE__ROOT": own.lake.root}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not target.exists()
    export(own, DATASET, Format.FOLDER, str(target))
    export(own, DATASET, Format.FOLDER, str(tmp_path / "undisturbed"))
    files = [
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (target, tmp_path / "undisturbed")
    ]
    assert files[0] == files[1] and len(files[0]) > sum(ROWS)


@pytest.mark.services
def test_an_export_to_an_object_store_has_its_manifest_last(
    own: Settings, expected: dict[str, Any], bucket: Bucket
) -> None:
    remote = own.model_copy(update={"s3": bucket.s3})
    done = export(remote, DATASET, Format.FOLDER, f"s3://{bucket.name}/out")
    storage = Storage(f"s3://{bucket.name}/out", bucket.s3)
    # The server of the tests also lists a marker for each folder.
    names = [name for name in storage.list_files() if Path(name).suffix]
    assert len(names) == done.files
    assert json.loads(storage.read(MANIFEST))["images"] == {"train": 40, "validation": 6, "test": 5}
    assert Counter(name.split("/")[0] for name in names if name.endswith(".jpg") and "/" in name) == {
        split: len(images) for split, images in expected.items()
    }
    with pytest.raises(ExportRefused, match="not empty"):
        export(remote, DATASET, Format.FOLDER, f"s3://{bucket.name}/out")


@pytest.mark.services
def test_a_failed_export_to_an_object_store_leaves_nothing(
    own: Settings, bucket: Bucket, tmp_path: Path
) -> None:
    damaged = own.model_copy(update={"lake": Lake(root=str(tmp_path / "lake")), "s3": bucket.s3})
    tiny.snapshot(damaged, DATASET, ROWS, shard_rows=16)
    Path(damaged.lake.at("snapshots", DATASET, "test", "00000.parquet")).write_bytes(b"short")
    with pytest.raises(DamagedSnapshot):
        export(damaged, DATASET, Format.TFRECORD, f"s3://{bucket.name}/out")
    assert Storage(f"s3://{bucket.name}/out", bucket.s3).list_files() == []


@pytest.mark.services
@pytest.mark.parametrize("kind", list(Format))
def test_an_object_store_gets_the_bytes_that_the_libraries_read_from_a_folder(
    own: Settings, bucket: Bucket, tmp_path: Path, kind: Format
) -> None:
    remote = own.model_copy(update={"s3": bucket.s3})
    done = export(remote, DATASET, kind, f"s3://{bucket.name}/exports/{kind}")
    export(own, DATASET, kind, str(tmp_path / "out"))
    local = {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert len(local) == done.files and sum(map(len, local.values())) == done.bytes
    storage = Storage(f"s3://{bucket.name}/exports/{kind}", bucket.s3)
    names = {name for name in storage.list_files() if Path(name).suffix}
    assert names == set(local)
    assert {name: storage.read(name) for name in names} == local
