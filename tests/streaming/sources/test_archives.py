"""Archives are read lazily; hostile members are skipped."""

import bz2
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import pytest

from streaming.errors import BadSource
from streaming.sources import xz
from streaming.sources.folders import open_source
from streaming.sources.items import Skipped
from streaming.sources.labels.labelling import Labelling
from tests.support.archives import LIMIT, LIMITS, MAKERS, PICTURE, read_items, tarred, zipped


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archive_is_read_one_member_at_a_time(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"cat/{n}.jpg": os.urandom(200_000) for n in range(20)}
    path = MAKERS[kind](tmp_path / "archive", members)
    bytes_read = 0
    original = Path.open

    def opened(self: Path, mode: str = "r", *rest: Any, **options: Any) -> IO[Any]:
        file = original(self, mode, *rest, **options)
        return _Metered(file) if self == path else file

    class _Metered(io.BufferedReader):
        def __init__(self, file: Any) -> None:
            super().__init__(file.detach())

        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal bytes_read
            content = super().read(size)
            bytes_read += len(content)
            return content

    monkeypatch.setattr(Path, "open", opened)
    source = open_source(str(path), Labelling(), LIMITS)
    assert bytes_read < 600_000  # the signatures and the first member
    items = source.items(Skipped())
    for _ in range(3):
        next(items)
    assert bytes_read < 1_700_000
    assert sum(1 for _ in items) == 17
    assert bytes_read > 4_000_000
    assert [file.name for file in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("name", ["small.zip", "table.xlsx"])
def test_tar_that_ends_with_a_zip_is_a_tar(kind: str, name: str, tmp_path: Path) -> None:
    small = zipped(tmp_path / "small.zip", {"dog/1.jpg": PICTURE}).read_bytes()
    members = {f"cat/{n}.jpg": os.urandom(1000) for n in range(5)} | {name: small}
    items, skipped = read_items(MAKERS[kind](tmp_path / "archive", members))
    assert [item.name for item in items] == [f"cat/{n}.jpg" for n in range(5)]
    assert skipped.counts == {"no picture by its ending": 1}


def test_zip_without_its_end_record_is_reported_as_a_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"cat/1.jpg": PICTURE})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadSource, match="cannot be read as a zip file"):
        read_items(path)


# Each of these holds one good picture before the bad member and one after it.


@pytest.mark.parametrize(
    "name", ["../../etc/cat/x.jpg", "/etc/cat/x.jpg", "C:/cat/x.jpg", "a/../../cat/x.jpg"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_member_whose_path_escapes_is_skipped(kind: str, name: str, tmp_path: Path) -> None:
    members = {"cat/1.jpg": PICTURE, name: PICTURE, "cat/2.jpg": PICTURE}
    items, skipped = read_items(MAKERS[kind](tmp_path / "archive", members))
    assert [item.name for item in items] == ["cat/1.jpg", "cat/2.jpg"]
    assert skipped.counts == {"path that escapes": 1}
    assert name in str(skipped)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_skipped(kind: bytes, tmp_path: Path) -> None:
    bad = tarfile.TarInfo("cat/x.jpg")
    bad.type, bad.linkname = kind, "/etc/passwd"
    members: dict[str, bytes | tarfile.TarInfo] = {"cat/1.jpg": PICTURE, "x": bad, "cat/2.jpg": PICTURE}
    items, skipped = read_items(tarred(tmp_path / "archive.tar", members))
    assert [item.name for item in items] == ["cat/1.jpg", "cat/2.jpg"]
    assert skipped.counts == {"link or device": 1}


def test_link_in_a_zip_is_skipped(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("cat/x.jpg")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("cat/1.jpg", PICTURE)
        archive.writestr(link, "/etc/passwd")
    assert read_items(tmp_path / "archive.zip")[1].counts == {"link or device": 1}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_member_over_the_size_limit_is_skipped(kind: str, tmp_path: Path) -> None:
    members = {"cat/1.jpg": PICTURE, "cat/x.jpg": os.urandom(LIMIT + 1), "cat/2.jpg": PICTURE}
    items, skipped = read_items(MAKERS[kind](tmp_path / "archive", members))
    assert [item.name for item in items] == ["cat/1.jpg", "cat/2.jpg"]
    assert skipped.counts == {"member that explodes": 1}


def test_zip_member_over_the_ratio_limit_is_skipped(tmp_path: Path) -> None:
    members = {"cat/1.jpg": PICTURE, "cat/x.jpg": bytes(LIMIT - 1), "cat/2.jpg": PICTURE}
    items, skipped = read_items(zipped(tmp_path / "archive.zip", members))
    assert len(items) == 2
    assert skipped.counts == {"member that explodes": 1}


@pytest.mark.parametrize("claim", [1, 1000, LIMIT - 1])
def test_zip_member_whose_header_lies_about_its_size_is_skipped(claim: int, tmp_path: Path) -> None:
    """20 kB that unpack to 20 MB, whatever the header claims."""
    bomb = bytes(20_000_000)
    path = zipped(tmp_path / "archive.zip", {"cat/1.jpg": PICTURE, "cat/x.jpg": bomb, "cat/2.jpg": PICTURE})
    content = path.read_bytes().replace(struct.pack("<I", len(bomb)), struct.pack("<I", claim))
    path.write_bytes(content)
    items, skipped = read_items(path)
    assert [item.name for item in items] == ["cat/1.jpg", "cat/2.jpg"]
    assert sum(skipped.counts.values()) == 1


def test_zip_whose_entries_share_a_member_yields_it_once(tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"cat/1.jpg": PICTURE})
    content = path.read_bytes()
    first, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entries, record = content[first:end] * 2000, bytearray(content[end:])
    struct.pack_into("<HHI", record, 8, 2000, 2000, len(entries))
    path.write_bytes(content[:first] + entries + record)
    items, skipped = read_items(path)
    assert [item.content for item in items] == [PICTURE]
    assert skipped.counts == {"member that is another one's": 1999}


def test_zip_bomb_of_many_members_is_stopped_at_the_budget(tmp_path: Path) -> None:
    """Each member of 1 MB is within the limit, but a hundred of them are too much for a zip of 100 kB."""
    path = zipped(tmp_path / "archive.zip", {f"cat/{n}.jpg": bytes(1_000_000) for n in range(100)})
    items, skipped = read_items(path)
    assert sum(len(item.content) for item in items) <= LIMITS.ratio_limit * path.stat().st_size
    assert 0 < len(items) < 20
    assert skipped.counts == {"rest of an archive that explodes": 1}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_methods_without_a_memory_limit_are_skipped(method: int, tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"cat/x.jpg": bytes(1000)}, method)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("cat/1.jpg", PICTURE)
    items, skipped = read_items(path)
    assert len(items) == 1
    assert skipped.counts == {"member neither stored nor deflated": 1}


def test_encrypted_member_is_skipped(tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"cat/x.jpg": PICTURE, "cat/2.jpg": PICTURE})
    content = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(magic) + flags] |= 1
    path.write_bytes(content)
    items, skipped = read_items(path)
    assert [item.name for item in items] == ["cat/2.jpg"]
    assert skipped.counts == {"encrypted member": 1}


def test_damaged_zip_member_is_skipped(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "archive.zip", {"cat/1.jpg": PICTURE, "cat/x.jpg": b"spoilt" * 50, "cat/2.jpg": PICTURE},
        zipfile.ZIP_STORED,
    )  # fmt: skip
    path.write_bytes(path.read_bytes().replace(b"spoiltspoilt", b"spoilTspoilt", 1))
    items, skipped = read_items(path)
    assert [item.name for item in items] == ["cat/1.jpg", "cat/2.jpg"]
    assert skipped.counts == {"damaged member": 1}


def test_tar_bomb_is_stopped_at_the_budget(tmp_path: Path) -> None:
    """A member of zeros claims one gigabyte. It is no picture, but skipping it would decompress it."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        member = tarfile.TarInfo("cat/1.jpg")
        member.size = len(PICTURE)
        archive.addfile(member, io.BytesIO(PICTURE))
        bomb = tarfile.TarInfo("cat/bomb.txt")
        bomb.size = 1 << 30
        header = bomb.tobuf()
    begin = inner.getvalue()[: 512 + -(-len(PICTURE) // 512) * 512]
    path = tmp_path / "archive.tar.bz2"
    packer = bz2.BZ2Compressor(1)
    with path.open("wb") as file:
        file.write(packer.compress(begin + header))
        for _ in range(40):
            file.write(packer.compress(bytes(1 << 20)))
        file.write(packer.flush())
    items, skipped = read_items(path)
    assert [item.name for item in items] == ["cat/1.jpg"]
    assert skipped.counts == {"no picture by its ending": 1, "rest of an archive that explodes": 1}


def _with_dictionary(packed: bytes, size: int) -> bytes:
    """Replace the dictionary size in an xz file of one stream and block by 2 to the power of `size`.

    Source: The .xz File Format 1.1.0, sections 3.1 and 5.3.1.
    """
    block, length = bytearray(packed[12:]), (packed[12] + 1) * 4
    block[block.index(b"\x21\x01") + 2] = (size - 12) * 2
    struct.pack_into("<I", block, length - 4, zlib.crc32(block[: length - 4]))
    return packed[:12] + block


def test_xz_whose_dictionary_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    """Two gigabytes of memory for a file of 2 kB."""
    path = tarred(tmp_path / "archive.tar.xz", {"cat/1.jpg": PICTURE}, "w:xz")
    packed = path.read_bytes()
    path.write_bytes(_with_dictionary(packed, 26))  # that of `xz -9`
    assert len(read_items(path)[0]) == 1
    path.write_bytes(_with_dictionary(packed, 31))
    with pytest.raises(BadSource, match="decompression needs more than 256 MiB for its dictionary") as caught:
        read_items(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_xz_is_read_up_to_a_stream_with_a_huge_dictionary(tmp_path: Path) -> None:
    members = {f"cat/{n}.jpg": os.urandom(200_000) for n in range(2)}
    whole = tarred(tmp_path / "archive.tar", members).read_bytes()
    begin, rest = lzma.compress(whole[:300_000]), lzma.compress(whole[300_000:])
    path = tmp_path / "archive.tar.xz"
    path.write_bytes(begin + bytes(8) + rest)
    assert [item.content for item in read_items(path)[0]] == list(members.values())
    path.write_bytes(begin + _with_dictionary(rest, 31))
    items, skipped = read_items(path)
    assert [item.name for item in items] == ["cat/0.jpg"]
    assert skipped.counts == {"rest of an archive that explodes": 1}


def test_streams_of_an_xz_file_may_be_padded() -> None:
    """Source: The .xz File Format 1.1.0, section 2.2."""
    content = os.urandom(200_000) + bytes(2_000_000)
    packed = lzma.compress(content)
    assert xz.open_xz(io.BytesIO(packed + bytes(200_000) + packed + bytes(4))).read() == content * 2
    with pytest.raises(EOFError):
        xz.open_xz(io.BytesIO(packed + packed[:-20])).read()


def test_tar_is_read_up_to_a_gigantic_extended_header(tmp_path: Path) -> None:
    path = tarred(tmp_path / "archive.tar", {"cat/1.jpg": PICTURE})
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 1 << 32
    used = 512 + -(-len(PICTURE) // 512) * 512
    path.write_bytes(path.read_bytes()[:used] + long_name.tobuf() + bytes(1 << 16))
    items, skipped = read_items(path)
    assert len(items) == 1
    assert skipped.counts == {"rest of an archive that explodes": 1}


def test_tar_header_that_points_backwards_does_not_loop(tmp_path: Path) -> None:
    path = tarred(tmp_path / "archive.tar", {"cat/1.jpg": PICTURE})
    used = 512 + -(-len(PICTURE) // 512) * 512
    header = bytearray(tarfile.TarInfo("cat/x.jpg").tobuf())
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024 in base 256
    header[148:156] = b"        "
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    path.write_bytes(path.read_bytes()[:used] + bytes(header) + bytes(1024))
    items, skipped = read_items(path)
    assert len(items) == 1
    assert sum(skipped.counts.values()) >= 1


@pytest.mark.parametrize("damage", ["cut", "header"])
def test_rest_of_a_damaged_tar_is_reported(damage: str, tmp_path: Path) -> None:
    members = {f"cat/{n}.jpg": os.urandom(3000) for n in range(3)}
    path = tarred(tmp_path / "archive.tar", members)
    content = bytearray(path.read_bytes())
    second = 512 + 3072
    if damage == "cut":
        del content[second + 512 + 100 :]
    else:
        content[second : second + 512] = os.urandom(512)
    path.write_bytes(content)
    items, skipped = read_items(path)
    assert [item.name for item in items] == ["cat/0.jpg"]
    assert skipped.counts == {"rest of a damaged archive": 1}


def test_zip_with_a_too_large_directory_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"cat/1.jpg": PICTURE})
    content = bytearray(path.read_bytes())
    content[-10:-6] = struct.pack("<I", (1 << 27) + 1)
    path.write_bytes(content)
    with pytest.raises(BadSource, match="its directory has"):
        read_items(path)


def test_utf8_names_without_the_flag_are_decoded(tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"猫/1.jpg": PICTURE})
    content = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
        content[content.index(magic) + flags] &= ~0x08
    path.write_bytes(content)
    assert read_items(path)[0][0].label == "猫"


def test_backslashes_of_windows_archivers_are_path_separators(tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"train\\cat\\1.jpg": PICTURE, "..\\cat\\2.jpg": PICTURE})
    items, skipped = read_items(path)
    assert [item.label for item in items] == ["cat"]
    assert skipped.counts == {"path that escapes": 1}
