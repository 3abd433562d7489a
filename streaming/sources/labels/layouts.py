"""Finds folders that belong to the layout of a dataset and are no labels, and what gives labels instead."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from streaming.sources.labels.labelling import folder_of

# Parts of the names of such folders: splits, kinds of files, and what qualifies them.
_PICTURES = r"images?|imgs?|pics?|pictures?|photos?|jpe?gs?|pngs?|tiffs?|bmps?|thumbs|thumbnails?|frames"
_SPLITS = r"training|train|validation|valid|val|testing|test|evaluation|eval|dev|unlabell?ed|unsorted"
_FILES = r"datasets?|data|samples|uploads|downloads|masks|annotations?|segmentations?|groundtruth|dcim"
_QUALIFIERS = (
    r"sets?|splits?|folds?|parts?|batch|input|output|all|raw|orig|original|small|large|full|resized|cropped|crops|"
    r"align|aligned|rgb|colou?r|my|new|the|of|and|folder|roll|highres|lowres|extra|object|class|public|private|final|"
    r"open|ilsvrc|imagenet|coco|voc|cifar|mnist|celeba|kaggle|x"
)
_CORE = f"{_PICTURES}|{_SPLITS}|{_FILES}"
_LAYOUT = re.compile(f"(?:{_QUALIFIERS})*(?:{_CORE})(?:{_CORE}|{_QUALIFIERS})*")
_TELLING = re.compile(f"{_PICTURES}|training|train|validation|datasets?|part|fold|batch|chunk|shard|split")
_SPLIT = re.compile(rf"(?:^|(?<=[\W\d_]))(?:{_SPLITS})(?:[A-Z]|[\W\d_].*)?$")
_DCF = re.compile(r"[1-9]\d\d[A-Z0-9_]{5}")  # folders of cameras: 100APPLE, 101CANON (JEITA CP-3461)
_DATE = re.compile(r"(19|20)\d\d[-_. ]?[01]\d([-_. ]?[0-3]\d)?")
_LONGEST = 40  # letters of a name that is searched for words
_CAMERA = "dcim"  # folder of cameras and phones

# Patterns for file names that have a label, as they are typed for --label-pattern.
# The number is how many pictures a label must have on average: names with a WordNet id are sure.
_PATTERNS = {
    r"^n\d{8}_(?P<label>[^\d_].*)\.": 1.0,
    r"^(?P<label>n\d{8})_": 1.0,
    r"^(?P<label>[A-Za-z][A-Za-z _-]*?)[ ._-]?\(?\d+\)?\.": 1.5,
    r"^(?P<label>[A-Za-z]+)[._-]": 1.5,
}
_FOLDERS = (-2, -3, 1, 2)
_COVERED = 0.5  # share of pictures that a suggested flag must label
_SHOWN = 3


def layout_folders(folders: Mapping[str, int]) -> Counter[str]:
    """Names of folders that are no labels, with their numbers of pictures.

    A folder beside another one that may be a label is a label: `train` beside `bus`.

    Args:
        folders: path of each folder that would name a label, to its number of pictures.
    """
    siblings: defaultdict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for path in map(PurePosixPath, folders):
        siblings[path.parent].append(path)
    found: Counter[str] = Counter()
    for group in siblings.values():
        if all(map(_is_layout, group)):
            for path in group:
                found[path.name] += folders[str(path)]
    return found or _parts(folders)


def _is_layout(path: PurePosixPath) -> bool:
    letters = re.sub(r"[\W\d_]+", "", path.name).lower()
    in_camera = any(part.lower() == _CAMERA for part in path.parts)
    short = len(letters) <= _LONGEST  # words may be split in many ways, so a long name would take for ever
    return bool(in_camera or (short and _LAYOUT.fullmatch(letters)) or _DATE.fullmatch(path.name))


def _parts(folders: Mapping[str, int]) -> Counter[str]:
    """All names, if together they are parts of one set of pictures.

    They differ in a number only and have a telling word (`HAM10000_images_part_1`, `…_2`), or in the split
    only (`cars_train`, `cars_test`; `trainA`, `testB`), or all are folders of cameras (`100APPLE`).
    """
    names = {path: PurePosixPath(path).name for path in folders}
    stems = {re.sub(r"\d+$", "", name) for name in names.values()}
    numbered = len(stems) == 1 and any(map(_TELLING.fullmatch, re.split(r"[\W\d_]+", stems.pop().lower())))
    ends = [_SPLIT.search(name) for name in names.values()]
    sets = {name[: end.start()] if end else name for name, end in zip(names.values(), ends, strict=True)}
    splits = len(sets) == 1 < len(set(names.values())) and all(ends)
    if not (numbered or splits or all(map(_DCF.fullmatch, names.values()))):
        return Counter()
    return Counter({names[path]: count for path, count in folders.items()})


def ways_out(names: Sequence[str], root: str, files: Iterable[str]) -> list[str]:
    """Flags that would give labels, each with what it gives.

    Args:
        names: paths of some pictures.
        root: name of the source if that is a folder.
        files: files of the source that may have labels; those of archives and buckets must be copied first.
    """
    inside = "" if root else ", copied out of the source"
    ways = [f"--labels-from {file}{inside}" for file in files]
    for number in _FOLDERS:
        labels = Counter(folder_of(name, root, number) for name in names)
        others = [label for label in labels if label and _is_layout(PurePosixPath(label))]
        if shown := _labels_shown(labels, len(names), {"", *others}):
            lines = ", ".join(f"`{name},`" for name in others)
            left_out = f", with the lines {lines} in --label-map" if others else ""
            ways.append(f"--label-from folder:{number}{left_out} ({shown})")
            break
    for pattern, per_label in _PATTERNS.items():
        matches = (re.search(pattern, PurePosixPath(name).name) for name in names)
        labels = Counter(match["label"] if match else "" for match in matches)
        layout = {label for label in labels if _is_layout(PurePosixPath(label))}
        if not layout and (shown := _labels_shown(labels, len(names), {""}, per_label)):
            ways.append(f"--label-pattern '{pattern}' ({shown})")
            break
    return ways


def _labels_shown(labels: Counter[str], pictures: int, left_out: set[str], per_label: float = 1.5) -> str:
    """Some of the labels, or an empty text if they are too few, or nearly as many as pictures."""
    kept = Counter({label: count for label, count in labels.items() if label not in left_out})
    if len(kept) < 2 or kept.total() < _COVERED * pictures or kept.total() < per_label * len(kept):
        return ""
    return "labels " + ", ".join(sorted(kept)[:_SHOWN]) + (", …" if len(kept) > _SHOWN else "")
