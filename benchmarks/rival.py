"""Daft on the same files: decode, two resizes, two encodes, Parquet. The extra `bench` installs it."""

import shutil
import sys
import time
from pathlib import Path

FIRST = 12_000  # pictures of a first run at most: as many as the design's figures are of


def rates(
    folder: Path, target: Path, images: int, stored: tuple[int, int], thumbnail: tuple[int, int]
) -> tuple[float, float]:
    """Images a second of Daft; it reads files and checks, hashes and measures nothing.

    Args:
        folder: of pictures; they are listed again until there are enough.
        target: folder for the Parquet files.
        images: how many.
        stored, thumbnail: widths and heights that are encoded, in pixels.

    Returns:
        once it is warm, and in a process's first run, in which it loads what it finds installed.

    Raises:
        ModuleNotFoundError: Daft is not installed.
    """
    import daft
    from daft.functions import decode_image, download, encode_image, resize

    files = sorted(str(path) for path in folder.rglob("*.*"))
    paths = [files[number % len(files)] for number in range(images)]

    def run(paths: list[str]) -> float:
        shutil.rmtree(target, ignore_errors=True)
        begun = time.perf_counter()
        image = decode_image(download(daft.col("path")), mode="RGB")
        (
            daft.from_pydict({"path": paths})
            .select(daft.col("path"), image.alias("image"))
            .select(
                daft.col("path"),
                encode_image(resize(daft.col("image"), *stored), "jpeg").alias("jpeg"),
                encode_image(resize(daft.col("image"), *thumbnail), "jpeg").alias("thumbnail"),
            )
            .write_parquet(str(target))
        )
        return len(paths) / (time.perf_counter() - begun)

    first = run(paths[:FIRST])
    warm = run(paths)
    written = daft.read_parquet(f"{target}/*.parquet").where(~daft.col("jpeg").is_null()).count_rows()
    assert written == images, f"{written} of {images} pictures written"
    return warm, first


if __name__ == "__main__":
    files, parquet, count, *sides = sys.argv[1:]
    width, height, small_width, small_height = map(int, sides)
    print(*rates(Path(files), Path(parquet), int(count), (width, height), (small_width, small_height)))
