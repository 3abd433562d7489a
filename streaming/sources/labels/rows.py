"""Reads files of labels as rows of path and label: CSV, JSON, JSON lines, COCO's, Open Images'."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conf.errors import UsageError

# Names of columns and of JSON keys, without case and punctuation, the most telling first.
_PATHS = (
    "path", "filepath", "filename", "file", "imagepath", "imagename", "imagefile", "imageid", "image",
    "imgpath", "img", "id",
)  # fmt: skip
_LABELS = (
    "labelname", "classname", "categoryname", "displayname", "label", "class", "category", "species", "breed",
    "target", "tag", "labels", "wnid", "synset",
)  # fmt: skip
_DELIMITERS = ",;\t|"
_PICTURE_NAME = re.compile(r".*\.(jpe?g|png|webp|gif|bmp|tiff?|hei[cf]|avif)", re.IGNORECASE)

Row = tuple[str, str]


def read_rows(flag: str, file: Path) -> Iterator[Row]:
    """The rows of a file: path of a picture, label. A path comes again for each of its labels.

    Args:
        flag: of the command, for messages.

    Raises:
        UsageError: the file cannot be read, or it is unclear which columns are meant.
    """
    text = read_text(flag, file)
    begin = text.lstrip()[:1]
    try:
        if begin not in {"{", "["}:
            return iter(_of_table(list(_cells(text))))
        if file.suffix.lower() in {".jsonl", ".ndjson"}:
            return _of_objects(map(json.loads, filter(str.strip, text.splitlines())))
        try:
            return _of_json(json.loads(text))
        except json.JSONDecodeError:
            return _of_objects(map(json.loads, filter(str.strip, text.splitlines())))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        why = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(
            f"{flag} {str(file)!r}: {why}; give a CSV with the columns path,label, JSON lines such as "
            '{"path": "a.jpg", "label": "cat"}, or COCO\'s JSON'
        ) from None


def read_table(flag: str, file: Path) -> list[list[str]]:
    """The rows of a CSV.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        return list(_cells(read_text(flag, file)))
    except csv.Error as error:
        raise UsageError(f"{flag} {str(file)!r}: {error}") from None


def read_text(flag: str, file: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its byte order mark.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        content = file.read_bytes()
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"is not UTF-8: {error}"
        raise UsageError(f"{flag} {str(file)!r}: {why}") from None


def _cells(text: str) -> Iterator[list[str]]:
    """The rows of a CSV, cells without blanks at both ends. The delimiter is the one that line 1 has most."""
    first = text.partition("\n")[0]
    found = [char for char in first if char in _DELIMITERS]
    delimiter = max(set(found), key=found.count) if found else " "
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True):
        if any(cell.strip() for cell in row):
            yield [cell.strip() for cell in row]


def _of_table(rows: Sequence[list[str]]) -> list[Row]:
    if not rows:
        raise ValueError("it is empty")
    names = [_plain(cell) for cell in rows[0]]
    path, label = _position(names, _PATHS), _position(names, _LABELS)
    if len(names) == 2 and (path is None) != (label is None):  # Kaggle's id,breed and the like
        path, label = (path, 1 - path) if path is not None else (1 - label, label)  # type: ignore[operator]
    if path is not None and label is not None and path != label:
        # Open Images also lists labels that a picture does not have, with confidence 0.
        sure = names.index("confidence") if "confidence" in names else None
        return [
            (row[path], row[label])
            for row in rows[1:]
            if max(path, label) < len(row) and (sure is None or sure >= len(row) or float(row[sure] or 0) > 0)
        ]
    if len(names) < 2:
        raise ValueError(f"its first line {','.join(rows[0])!r} has one column")
    if len(names) > 2 and not _PICTURE_NAME.fullmatch(rows[0][0]):
        raise ValueError(f"it is unclear which of the columns {', '.join(rows[0])} have path and label")
    return [(row[0], row[1]) for row in rows if len(row) > 1]


def _of_json(content: Any) -> Iterator[Row]:
    if isinstance(content, list):
        return _of_objects(iter(content))
    if {"images", "annotations"} <= content.keys():
        return iter(_of_coco(content))
    if all(isinstance(value, str | int) for value in content.values()) and not set(content) & {*_PATHS}:
        return ((path, str(label)) for path, label in content.items())
    return _of_objects(iter([content]))


def _of_coco(content: dict[str, Any]) -> list[Row]:
    """Source: https://cocodataset.org/#format-data; iNaturalist's files have the same format."""
    categories = {each["id"]: str(each["name"]) for each in content.get("categories", ())}
    files = {each["id"]: str(each["file_name"]) for each in content["images"]}
    pairs = {(each["image_id"], each["category_id"]): None for each in content["annotations"]}
    return [(files[image], categories.get(category, str(category))) for image, category in pairs]


def _of_objects(objects: Iterator[Any]) -> Iterator[Row]:
    return iter([row for each in objects for row in _of_object(each)])


def _of_object(content: dict[str, Any]) -> list[Row]:
    keys = {_plain(key): value for key, value in content.items()}
    path = next((keys[name] for name in _PATHS if name in keys), None)
    label = next((keys[name] for name in _LABELS if keys.get(name) is not None), None)
    if path is None:
        raise ValueError(f"an object has no path, but {', '.join(content)}")
    labels = label if isinstance(label, list) else [label]
    return [(str(path), str(each)) for each in labels if each is not None]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _position(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)
