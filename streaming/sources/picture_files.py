"""Which files of a source are pictures: by their endings, or else by their first bytes."""

import re

from lake.pictures import formats

HEAD_BYTES = 512  # of a file, that show whether it is a picture

# Files with these endings are sent. Broken and unsupported pictures are sent: ingestion rejects them.
_PICTURES = formats.SUFFIXES | {".gif", ".bmp", ".tif", ".tiff"}
# Files with these endings are not opened, unless a picture's is before it (`leaf.jpg.html`). With all other
# endings, and with none, the content decides.
_OTHERS = frozenset({
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".log", ".html", ".htm", ".css", ".js", ".pdf", ".doc", ".docx", ".xls", ".xlsx",
    ".ods", ".ppt", ".pptx",
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar", ".iso",
    ".mp3", ".wav", ".flac", ".ogg", ".m4a", ".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".3gp", ".mpg",
    ".py", ".ipynb", ".sh", ".cpp", ".java", ".lua",
    ".npy", ".npz", ".mat", ".pkl", ".h5", ".hdf5", ".parquet", ".arrow", ".tfrecord", ".pt", ".pth", ".onnx",
    ".db", ".sqlite", ".exe", ".dll", ".so", ".aae", ".xmp",
})  # fmt: skip
# What systems put beside the files of their users: Finder, Windows, Synology, QNAP, NetApp, Linux.
_SYSTEM_FOLDERS = frozenset({
    "__macosx", "$recycle.bin", "recycler", "system volume information", "@eadir", "#recycle", "#snapshot",
    "@recycle", "@recently-snapshot", "@__thumb", "~snapshot", "lost+found",
})  # fmt: skip
_PICTURE_INSIDE = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(_PICTURES)))})(?![a-z0-9])", re.IGNORECASE)
_BITMAP_HEADERS = {12, 40, 52, 56, 64, 108, 124}  # sizes of the second header of a BMP


def skip_reason(name: str) -> str | None:
    """Why a path is skipped, or None: it leaves the source, is hidden, or has the ending of another file."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        return "path that escapes"
    if any(part.startswith(".") or part.casefold() in _SYSTEM_FOLDERS for part in parts):
        return "hidden file"
    other = _ending(name) in _OTHERS and not _PICTURE_INSIDE.search(name.rpartition("/")[2])
    return "no picture by its ending" if other else None


def content_decides(name: str) -> bool:
    """Whether the ending of a name leaves open if the file is a picture: `leaf.jpg?w=300`, `IMG.JPG.1`."""
    return _ending(name) not in _PICTURES


def is_picture(name: str, beginning: bytes) -> bool:
    """Whether a file is sent: by its ending, or by its first `HEAD_BYTES`."""
    return not content_decides(name) or _begins_as_picture(name, beginning)


def _begins_as_picture(name: str, beginning: bytes) -> bool:
    if formats.detect(beginning) is not None or beginning.startswith((b"GIF87a", b"GIF89a")):
        return True
    if beginning.startswith((b"II*\0", b"MM\0*")):  # raw files of cameras begin so, too
        return not _ending(name) or ".tif" in name.rpartition("/")[2].lower()
    return beginning.startswith(b"BM") and int.from_bytes(beginning[14:18], "little") in _BITMAP_HEADERS


def _ending(name: str) -> str:
    """As the suffix of pathlib, in lower case, at a tenth of the time."""
    file = name.rpartition("/")[2]
    dot = file.rfind(".")
    return file[dot:].lower() if 0 < dot < len(file) - 1 else ""
