"""Stored pictures: the right row's, from a disk and from an object store; none of rejected or erased rows."""

from pathlib import Path

import pytest

from conf.sections import S3, Lake
from conf.settings import Settings
from lake.storage import Storage
from lake.table import Table
from tests.support.s3server import Bucket
from tests.web import lakes
from web.data import uploads
from web.data.mirror import Mirror
from web.data.stored_pictures import Size, StoredPictures


def _rows(count: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        lakes.upload_row(n, jpeg=b"picture %d" % n, thumbnail=b"thumbnail %d" % n) for n in range(count)
    ]
    rows[7] = lakes.rejected_row(7, "truncated")
    return rows


def _check(settings: Settings, tmp_path: Path, count: int) -> StoredPictures:
    mirror = Mirror(settings, tmp_path / "tables.duckdb")
    mirror.refresh()
    pictures = StoredPictures(settings, mirror)
    for number in (0, 3, 6, 8, count - 1, 3):
        upload = uploads.find(mirror, f"upload-{number:06}")
        assert upload is not None
        assert pictures.read(upload, Size.PICTURE) == b"picture %d" % number
        assert pictures.read(upload, Size.THUMBNAIL) == b"thumbnail %d" % number
    rejected = uploads.find(mirror, "upload-000007")
    assert rejected is not None
    assert pictures.read(rejected, Size.PICTURE) is None
    assert pictures.read(rejected, Size.THUMBNAIL) is None
    return pictures


def test_pictures_on_a_disk(own: Settings, tmp_path: Path) -> None:
    lakes.append(own, Table.UPLOADS, _rows(300))
    lakes.append(own, Table.UPLOADS, [lakes.upload_row(n, jpeg=b"later") for n in range(300, 305)])
    _check(own, tmp_path, 300)


@pytest.mark.services
def test_pictures_in_an_object_store(own: Settings, s3: S3, bucket: Bucket, tmp_path: Path) -> None:
    lakes.append(own, Table.UPLOADS, _rows(300))
    away = own.model_copy(update={"s3": s3, "lake": Lake(root=f"s3a://{bucket.name}/lake")})
    Storage(away.lake.root, s3).upload(Path(own.lake.root))
    _check(away, tmp_path, 300)


def test_a_file_that_was_purged_is_an_error_of_storage(own: Settings, tmp_path: Path) -> None:
    lakes.append(own, Table.UPLOADS, _rows(20))
    mirror = Mirror(own, tmp_path / "tables.duckdb")
    mirror.refresh()
    upload = uploads.find(mirror, "upload-000003")
    assert upload is not None
    for file in Path(own.lake.at(Table.UPLOADS)).glob("*.parquet"):
        file.unlink()
    with pytest.raises(OSError, match=r"parquet"):
        StoredPictures(own, mirror).read(upload, Size.PICTURE)
