"""Which places the settings take: the rest is refused before anything starts."""

from pathlib import Path

import pytest

from conf import settings as configuration
from conf.errors import SettingError
from conf.places import CONF, is_executable
from conf.settings import Settings
from tests.support.disks import small_disk

WORK_FOLDERS = ("LOGS__DIR", "BROKER__DIR", "SPARK__WORK_DIR", "INGEST__INDEX_DIR")


@pytest.mark.parametrize(
    "name", ["100% mine", "c#", "Jürgens Bilder", "comma, blank", "a&b=c+d;e", "it's", "a<b>", "$HOME ~"]
)
def test_a_lake_can_be_below_a_folder_of_almost_any_name(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB__LAKE__ROOT", f"/somewhere/{name}/lake/")
    assert configuration.load().lake.root == f"/somewhere/{name}/lake"


@pytest.mark.parametrize(
    ("root", "refused"),
    [
        ("/pictures/[2024] photos/lake", "["),
        ("/pictures/2024]", "]"),
        ("/pictures/a^b", "^"),
        ("/pictures/a%20b", "%20"),
        ("/pictures/a%5Bb", "%5B"),
        ("/pictures/a|b", "|"),
        ("/pictures/a`b", "`"),
        ("/pictures/{a}", "{"),
        ("/pictures/*", "*"),
        ("/pictures/a?", "?"),
        ("/pictures/a\\b", "\\\\"),
        ("/pictures/a\nb", "\\n"),
        ("s3://bucket/[2024] photos", "["),
        ("s3a://bucket/a#b", "#"),
        ("s3a://my bucket/lake", " "),
    ],
)
def test_a_lake_that_not_every_library_could_open_is_refused(
    root: str, refused: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB__LAKE__ROOT", root)
    with pytest.raises(SettingError) as caught:
        configuration.load()
    assert f"must not contain '{refused}'; rename the folder" in str(caught.value)
    assert "HUB__LAKE__ROOT" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "root",
    [
        "",
        " ",
        "s3a://",
        "s3://",
        "s3a:///lake",
        "hdfs://name/lake",
        "gs://b/lake",
        "file:///lake",
    ],
)
def test_a_lake_is_a_folder_or_in_a_bucket(
    root: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB__LAKE__ROOT", root)
    with pytest.raises(SettingError, match="must be a folder or an s3a:// URI"):
        configuration.load()


def test_a_link_to_such_a_folder_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "[2024]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "[2024]")
    monkeypatch.setenv("HUB__LAKE__ROOT", str(tmp_path / "link" / "lake"))
    with pytest.raises(SettingError, match=r"the path '.*/\[2024\]/lake' must not contain '\['"):
        configuration.load()


@pytest.mark.parametrize("name", ["LAKE__ROOT", *WORK_FOLDERS])
@pytest.mark.parametrize("folder", ["./lake", "models/mine", str(CONF)])
def test_a_folder_of_the_hub_s_own_code_is_refused(
    name: str, folder: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"HUB__{name}", folder)
    with pytest.raises(SettingError, match="belongs to the hub's own package"):
        configuration.load()


@pytest.mark.parametrize("name", WORK_FOLDERS)
@pytest.mark.parametrize("folder", ["/a, b", "/a:b", "/a\tb"])
def test_a_work_folder_that_java_would_split_is_refused(
    name: str, folder: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"HUB__{name}", folder)
    with pytest.raises(SettingError, match="Java would split it there"):
        configuration.load()


def test_a_folder_that_is_mounted_noexec_is_not_executable(tmp_path: Path) -> None:
    assert is_executable(tmp_path)
    with small_disk(tmp_path / "noexec", "1m", "noexec"):
        assert not is_executable(tmp_path / "noexec")
