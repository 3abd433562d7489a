"""Zips as Finder, Explorer, servers and phones write them: good pictures are read, the others named."""

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from streaming.errors import BadSource
from streaming.sources import zip_directory
from tests.support.archives import PICTURE, read_items, zipped

UTF8, DESCRIPTOR = 0x800, 0x8


@dataclass(frozen=True)
class Member:
    """A stored member, as an archiver writes it.

    Args:
        name: in the directory.
        local: name in the local header; None: the same.
        offset: in the directory, where it is not the true one.
    """

    name: bytes
    content: bytes = PICTURE
    local: bytes | None = None
    extra: bytes = b""
    flags: int = 0
    system: int = 0
    attributes: int = 0
    offset: int | None = None


def raw_zip(members: Sequence[Member], comment: bytes = b"") -> bytes:
    """A zip without the checks of zipfile."""
    body, directory = b"", b""
    for member in members:
        local = member.name if member.local is None else member.local
        crc, size = zlib.crc32(member.content), len(member.content)
        at = len(body) if member.offset is None else member.offset
        known = (0, 0, 0) if member.flags & DESCRIPTOR else (crc, size, size)
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, member.flags, 0, 0, 33, *known, len(local), 0)
        body += local + member.content
        if member.flags & DESCRIPTOR:
            body += struct.pack("<4s3I", b"PK\7\x08", crc, size, size)
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", member.system << 8 | 20, 20, member.flags, 0, 0, 33, crc, size, size,
            len(member.name), len(member.extra), 0, 0, 0, member.attributes, at,
        ) + member.name + member.extra  # fmt: skip
    count = min(len(members), 0xFFFF)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), len(comment))
    return body + directory + end + comment


def members(count: int = 2) -> list[Member]:
    return [Member(b"cat/%d.jpg" % number) for number in range(count)]


def names_in(tmp_path: Path, content: bytes) -> tuple[list[str], dict[str, int]]:
    path = tmp_path / "archive.zip"
    path.write_bytes(content)
    items, skipped = read_items(path)
    assert all(item.content == PICTURE for item in items)
    return [item.name for item in items], dict(skipped.counts)


GOOD = ["cat/0.jpg", "cat/1.jpg"]


def test_names_may_differ_between_directory_and_local_headers(tmp_path: Path) -> None:
    """The directory has backslashes, the local headers have slashes: some Windows archivers."""
    content = raw_zip([Member(b"set\\cat\\%d.jpg" % n, local=b"set/cat/%d.jpg" % n) for n in range(3)])
    assert names_in(tmp_path, content) == ([f"set/cat/{n}.jpg" for n in range(3)], {})


@pytest.mark.parametrize(
    "extra", [struct.pack("<HH", 0x5455, 9) + b"\1", b"\1", b"\0" * 7, struct.pack("<HH", 1, 60000)]
)
def test_extra_field_with_a_wrong_length_is_ignored(tmp_path: Path, extra: bytes) -> None:
    content = raw_zip([*members(), Member(b"cat/2.jpg", extra=extra)])
    assert names_in(tmp_path, content) == ([*GOOD, "cat/2.jpg"], {})


@pytest.mark.parametrize(
    ("raw", "flags", "name"),
    [
        ("cat/Äpfel.jpg".encode("cp1252"), UTF8, "cat/Äpfel.jpg"),  # the flag is wrong
        ("cat/Äpfel.jpg".encode("cp1252"), 0, "cat/Äpfel.jpg"),
        ("cat/Äpfel.jpg".encode("cp437"), 0, "cat/Äpfel.jpg"),
        ("cat/crème.jpg".encode("cp1252"), 0, "cat/crème.jpg"),  # a Greek letter in cp437
        ("cat/crème.jpg".encode("cp437"), 0, "cat/crème.jpg"),
        ("cat/groß.jpg".encode("cp437"), 0, "cat/groß.jpg"),
        ("cat/más.jpg".encode("cp1252"), UTF8, "cat/más.jpg"),  # as ß in cp437
        ("cat/Äpfel.jpg".encode(), 0, "cat/Äpfel.jpg"),  # Finder and many servers set no flag
        ("cat/猫.jpg".encode(), UTF8, "cat/猫.jpg"),
    ],
)
def test_names_are_read_whatever_the_flag_says(tmp_path: Path, raw: bytes, flags: int, name: str) -> None:
    assert names_in(tmp_path, raw_zip([*members(), Member(raw, flags=flags)])) == ([*GOOD, name], {})


def test_unicode_path_of_info_zip_is_used(tmp_path: Path) -> None:
    raw = b"cat/_.jpg"
    field = b"\1" + struct.pack("<I", zlib.crc32(raw)) + "cat/猫.jpg".encode()
    stale = b"\1" + struct.pack("<I", 7) + b"dog/x.jpg"
    extras = [struct.pack("<HH", 0x7075, len(each)) + each for each in (field, stale)]
    content = raw_zip([Member(raw, extra=extras[0]), Member(b"cat/1.jpg", extra=extras[1])])
    assert names_in(tmp_path, content) == (["cat/猫.jpg", "cat/1.jpg"], {})


def test_archive_of_finder(tmp_path: Path) -> None:
    entries = [
        Member(b"Photos/", b"", system=3, attributes=0o040755 << 16),
        Member("Photos/Cafe\u0301/1.jpg".encode(), flags=DESCRIPTOR, system=3, attributes=0o100644 << 16),
        Member("__MACOSX/Photos/Cafe\u0301/._1.jpg".encode(), b"\0\5\x16\7", system=3),
        Member(b"Photos/.DS_Store", b"x", system=3),
        Member(b"Photos/Caf\xc3\xa9/2.jpg", system=19, attributes=0o100644 << 16),
    ]
    (tmp_path / "a.zip").write_bytes(raw_zip(entries))
    items, skipped = read_items(tmp_path / "a.zip")
    assert [item.label for item in items] == ["Café", "Café"]  # composed, as on other systems
    assert skipped.counts == {"hidden file": 2}


def test_archive_of_explorer_and_of_a_nas(tmp_path: Path) -> None:
    entries = [
        Member(b"set\\", b"", attributes=0x10),
        Member(b"set\\cat", b"", attributes=0x10),
        Member(b"set\\cat\\0.jpg"),
        Member(b"set\\cat\\Thumbs.db", b"x"),
        Member(b"set/cat/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg"),
        Member(b"set/@Recycle/cat/1.jpg"),
    ]
    assert names_in(tmp_path, raw_zip(entries)) == (
        ["set/cat/0.jpg"],
        {"hidden file": 2, "no picture by its ending": 1},
    )


def test_sizes_in_a_descriptor_after_the_content(tmp_path: Path) -> None:
    """As servers and phones write zips that they stream."""
    content = raw_zip([Member(member.name, flags=DESCRIPTOR) for member in members()])
    assert names_in(tmp_path, content) == (GOOD, {})


class _Streamed(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_streamed_zip64(tmp_path: Path) -> None:
    output = _Streamed()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members():
            with archive.open(member.name.decode(), "w", force_zip64=True) as file:
                file.write(member.content)
    assert names_in(tmp_path, output.getvalue()) == (GOOD, {})


@pytest.mark.parametrize("length", [46, 60, 110])
def test_directory_is_read_whole_if_its_length_is_wrong(tmp_path: Path, length: int) -> None:
    content = bytearray(raw_zip(members()))
    struct.pack_into("<I", content, content.index(b"PK\5\6") + 12, length)
    assert names_in(tmp_path, bytes(content)) == (GOOD, {})


@pytest.mark.parametrize("left", [0.5, 0.9])
def test_zip_that_was_cut_off_says_so(tmp_path: Path, left: float) -> None:
    content = raw_zip(members())
    (tmp_path / "a.zip").write_bytes(content[: int(left * len(content))])
    with pytest.raises(BadSource, match="it was cut off; copy it again"):
        read_items(tmp_path / "a.zip")


def test_zip64_directory(tmp_path: Path) -> None:
    """All fields of the old end record are unknown; the entries have their sizes in extra fields, too."""
    plain = raw_zip(members())
    end = plain.index(b"PK\5\6")
    size, offset = struct.unpack("<2I", plain[end + 12 : end + 20])
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    unknown = struct.pack("<4s4H2IH", b"PK\5\6", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert names_in(tmp_path, plain[:end] + record + locator + unknown) == (GOOD, {})


@pytest.mark.parametrize("adjusted", [False, True])
@pytest.mark.parametrize("stub", [b"MZ\x90\0" + bytes(5000), b"#!/bin/sh\nexec unzip $0\n"])
def test_program_that_unpacks_itself(tmp_path: Path, stub: bytes, adjusted: bool) -> None:
    path = tmp_path / "archive.exe"
    path.write_bytes(stub)
    if adjusted:  # zipfile counts offsets from the beginning of the file
        with zipfile.ZipFile(path, "a") as archive:
            for member in members():
                archive.writestr(member.name.decode(), member.content)
    else:
        path.write_bytes(stub + raw_zip(members()))
    assert [item.name for item in read_items(path)[0]] == GOOD


@pytest.mark.parametrize(
    "comment", [b"PK\5\6", b"PK\5\6" + b"\0" * 18, b"PK\5\6" + b"\xff" * 18, b"x" * 65535]
)
def test_comment_that_looks_like_an_end_record(tmp_path: Path, comment: bytes) -> None:
    assert names_in(tmp_path, raw_zip(members(), comment)) == (GOOD, {})


def test_bytes_after_the_end_are_ignored(tmp_path: Path) -> None:
    assert names_in(tmp_path, raw_zip(members()) + b"\r\n" * 300) == (GOOD, {})


def test_both_members_of_one_name_are_read(tmp_path: Path) -> None:
    content = raw_zip([Member(b"cat/0.jpg"), Member(b"cat/0.jpg")])
    assert names_in(tmp_path, content) == (["cat/0.jpg", "cat/0.jpg"], {})


def test_encrypted_members_are_named_and_the_others_read(tmp_path: Path) -> None:
    content = raw_zip([*members(), Member(b"cat/2.jpg", flags=1), Member(b"cat/3.jpg", flags=0x41)])
    assert names_in(tmp_path, content) == (GOOD, {"encrypted member": 2})


@pytest.mark.parametrize("damage", ["offset", "signature", "entry", "cut"])
def test_damage_costs_only_its_member(tmp_path: Path, damage: str) -> None:
    entries = members(4)
    if damage == "offset":
        entries[1] = Member(entries[1].name, offset=1 << 31)
    content = bytearray(raw_zip(entries))
    directory = content.index(b"PK\1\2")
    length = 46 + len(entries[0].name)
    if damage == "signature":
        content[content.index(b"PK\3\4", 10)] = 0
    if damage == "entry":  # the length of its comment is wrong: the next entry does not follow
        content[directory + length + 32] = 7
    if damage == "cut":  # the last entry claims a name beyond the directory
        struct.pack_into("<H", content, directory + 3 * length + 28, 999)
    names, skipped = names_in(tmp_path, bytes(content))
    if damage == "entry":
        assert (names, skipped) == ([*GOOD, "cat/2.jpg", "cat/3.jpg"], {})
    elif damage == "cut":
        assert (names, skipped) == ([*GOOD, "cat/2.jpg"], {"rest of a damaged directory": 1})
    else:
        assert (names, skipped) == (["cat/0.jpg", "cat/2.jpg", "cat/3.jpg"], {"damaged member": 1})


def test_members_that_overlap_are_not_read_twice(tmp_path: Path) -> None:
    """The first member contains the second: a bomb of the kind of zbsm, whose kernel all members share."""
    inner = raw_zip([Member(b"cat/1.jpg")])
    inner = inner[: inner.index(b"PK\1\2")]
    content = raw_zip([Member(b"cat/0.jpg", inner), Member(b"cat/1.jpg", offset=30 + len(b"cat/0.jpg"))])
    assert names_in(tmp_path, content) == (["cat/1.jpg"], {"member that is another one's": 1})


def test_last_part_of_a_split_zip_says_what_to_do(tmp_path: Path) -> None:
    content = bytearray(raw_zip(members()))
    struct.pack_into("<2H", content, content.index(b"PK\5\6") + 4, 3, 3)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadSource, match="last part of a split zip: join the parts first"):
        read_items(tmp_path / "a.zip")


def test_large_archive_of_finder_lacks_multiples_of_4_gib(tmp_path: Path) -> None:
    """macOS writes no ZIP64: offsets wrap at 4 GiB. The gap is a sparse file."""
    gap = (1 << 32) + 12_345
    first, second = raw_zip([Member(b"cat/0.jpg")]), raw_zip([Member(b"cat/1.jpg")])
    cut = first.index(b"PK\1\2")
    body_two, entry_two = second[:cut], bytearray(second[cut : second.index(b"PK\5\6")])
    struct.pack_into("<I", entry_two, 42, gap % (1 << 32))
    directory = first[cut : first.index(b"PK\5\6")] + entry_two
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(directory), (gap + cut) % (1 << 32), 0)
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        file.write(first[:cut])
        file.seek(gap)
        file.write(body_two + directory + end)
    assert path.stat().st_blocks * 512 < 1 << 24, "the file is not sparse"
    items, skipped = read_items(path)
    assert [(item.name, item.content) for item in items] == [(name, PICTURE) for name in GOOD]
    assert not skipped.counts


def test_directory_is_not_searched_outside_the_last_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_directory, "_TAIL_BYTES", 4096)
    (tmp_path / "a.zip").write_bytes(raw_zip(members()) + bytes(5000))
    with pytest.raises(BadSource, match="cannot be read as a zip file: it has no directory at its end"):
        read_items(tmp_path / "a.zip")


def test_names_only_opens_only_members_whose_content_decides(tmp_path: Path) -> None:
    from streaming.sources.folders import open_source
    from streaming.sources.items import Skipped
    from streaming.sources.labels.labelling import Labelling
    from tests.support.archives import LIMITS

    path = zipped(tmp_path / "a.zip", {"cat/1.jpg": PICTURE, "cat/2.jpg?x=1": PICTURE, "cat/3": b"text"})
    content = bytearray(path.read_bytes())
    source = open_source(str(path), Labelling(), LIMITS)
    content[content.index(b"PK\3\4") + 45 : content.index(b"PK\3\4", 9)] = b"?" * (
        content.index(b"PK\3\4", 9) - 45
    )
    path.write_bytes(content)  # the first member is damaged, which nobody notices
    skipped = Skipped()
    items = list(source.items(skipped, names_only=True))
    assert [(item.name, item.content, item.label) for item in items] == [
        ("cat/1.jpg", b"", "cat"),
        ("cat/2.jpg?x=1", b"", "cat"),
    ]
    assert skipped.counts == {"no picture by its content": 1}
