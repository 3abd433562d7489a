"""`hub train` with wrong arguments or datasets: a one-line error, and no cluster is started."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conf.choices import Pixels
from conf.settings import Settings
from jobs.cli.command import run
from jobs.train import main
from lake.snapshot import MANIFEST
from models.runs import cluster
from tests.support import tiny


@pytest.fixture(scope="module")
def datasets(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write dataset snapshots that can and cannot be trained on; a folder with files to start from."""
    from models.architectures import ARCHITECTURES
    from models.nets.heads import logits

    tiny.snapshot(settings, "fine", (32, 8, 8))
    tiny.snapshot(settings, "one-label", (32, 8, 8), labels=("across",))
    tiny.snapshot(settings, "unvalidated", (32, 0, 8))
    tiny.snapshot(settings, "thin", (3, 8, 8))
    nameless = tiny.snapshot(settings, "nameless", (32, 8, 8))
    fewer = replace(nameless, labels=nameless.labels[:3])
    nameless.storage.write_json(MANIFEST, fewer.manifest())
    folder = tmp_path_factory.mktemp("starts")
    ARCHITECTURES["resnet32"].build(logits(4), Pixels.UNIT).save_weights(folder / "other.weights.h5")
    ARCHITECTURES["resnet32"].build(logits(4), Pixels.UNIT).save(folder / "other.keras")
    return folder


@pytest.fixture
def run_train(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the command; returns exit status and standard error. Starting a cluster fails the test."""

    def fail(*_: object) -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr(cluster, "start_session", fail)

    def attempt(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            run(main, list(arguments))
        assert isinstance(left.value.code, int)
        captured = capsys.readouterr()
        assert captured.out == ""
        return left.value.code, captured.err

    return attempt


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("--dataset nowhere", 1, "no dataset 'nowhere': there are "),
        ("--dataset fine/", 1, "no dataset 'fine/': there are "),
        ("--dataset ../snapshots/fine", 1, "no dataset '../snapshots/fine': there are "),
        ("--dataset one-label", 1, "has 1 label (across); a model needs two or more"),
        ("--dataset unvalidated", 1, "has no validation pictures: organize with more pictures"),
        ("--dataset thin", 1, "has no training pictures of red: organize"),
        ("--dataset nameless", 1, "has pictures of label number 3, but its manifest names 3 labels"),
        ("--dataset fine --workers 32", 1, "--workers 32 is more than the "),
        ("--dataset fine --workers 33", 1, "--workers 33 is more than the 32 training pictures"),
        ("--dataset fine --from resnet99", 1, "no model 'resnet99'"),
        ("--dataset fine --from {files}/gone.keras", 1, "gone.keras does not exist"),
        ("--dataset fine --from {files}/other.weights.h5", 1, "is no .keras file (for an .h5 file"),
        ("--dataset fine --from {files}/other.keras --arch resnet20", 1, "is a resnet32, not a resnet20"),
        ("--dataset fine --weights {files}/other.weights.h5", 1, "does not fit resnet20"),
        ("--dataset fine --weights {files}/gone.h5", 1, "gone.h5 does not exist"),
        (
            "--dataset fine --weights w.h5 --from a-model --arch resnet20",
            2,
            "--from and --weights exclude each other",
        ),
        ("--dataset fine --freeze-epochs 2", 2, "--freeze-epochs 2 needs --pretrained, --from or --weights"),
        (
            "--dataset fine --pretrained",
            1,
            "no package has published weights of resnet20, only of efficientnet-lite0, mobilenet-v2",
        ),
        ("--dataset fine --pretrained --arch resnet50", 1, "no package has published weights of resnet50"),
        (
            "--dataset fine --pretrained --arch mobilenet-v2 --weights w.h5",
            2,
            "--weights and --pretrained exclude each other",
        ),
        ("--dataset fine --pretrained --from a-model", 2, "--from and --pretrained exclude each other"),
        (
            "--dataset fine --arch efficientnet-lite0 --side 100",
            2,
            "--side 100: efficientnet-lite0 takes pictures of 96, 128, 160 or 224 px",
        ),
        ("--dataset fine --side 64", 2, "--side 64: resnet20 takes pictures of 32 px"),
        ("--dataset fine --side 0", 2, "--side 0: resnet20 takes pictures of 32 px"),
        ("--dataset fine --seed -1", 2, "'--seed': -1 is not in the range 0<=x<=4294967295"),
        ("--dataset fine --seed 4294967296", 2, "'--seed': 4294967296 is not in the range"),
        ("--dataset fine --learning-rate nan", 2, "--learning-rate nan: must be a number above 0"),
        ("--dataset fine --learning-rate inf", 2, "--learning-rate inf: must be a number above 0"),
        ("--dataset fine --objective triplet --batch-size 4", 2, "--batch-size 4: for --objective triplet"),
        ("--dataset fine --objective triplet --workers 8", 1, "too few for triplets"),
    ],
)
def test_wrong_arguments_are_one_line_and_start_no_cluster(
    arguments: str, status: int, message: str, datasets: Path, run_train: Callable[..., tuple[int, str]]
) -> None:
    found, error = run_train(*arguments.format(files=datasets).split())
    assert message in error
    assert found == status and error.count("\n") == 1 and error.startswith("hub train: error: ")


@pytest.fixture
def lake(datasets: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake that holds the datasets and nothing else."""
    (tmp_path / "snapshots").symlink_to(settings.lake.at("snapshots"))
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path))
    return tmp_path


def test_unwritable_artifacts_are_one_line_and_start_no_cluster(
    lake: Path, run_train: Callable[..., tuple[int, str]]
) -> None:
    for place in ("artifacts", "runs"):
        (lake / place).write_bytes(b"a file where a folder goes")
        status, error = run_train("--dataset", "fine")
        assert status == 1 and error.count("\n") == 1
        assert f"cannot write {lake}/{place}/" in error
        (lake / place).unlink()
        assert list(lake.glob("runs/*/*")) == []  # no run is left to be resumed
        shutil.rmtree(lake / "runs", ignore_errors=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="no folder is closed to root")
def test_artifacts_without_permission_are_one_line_and_start_no_cluster(
    lake: Path, run_train: Callable[..., tuple[int, str]]
) -> None:
    (lake / "artifacts").mkdir(mode=0o555)
    status, error = run_train("--dataset", "fine")
    assert status == 1 and error.count("\n") == 1 and "Permission denied" in error
