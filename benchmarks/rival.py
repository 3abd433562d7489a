"""Comparison with Daft: decode, two resizes, two encodes, Parquet. The extra `bench` installs it."""

import shutil
import sys
import time
from pathlib import Path

FIRST = 12_000  # maximum pictures of the first run


def daft_rates(
    folder: Path, target: Path, images: int, stored: tuple[int, int], thumbnail: tuple[int, int]
) -> tuple[float, float]:
    """Images per second of Daft, which reads files, without verification, hashes and metrics.

    Args:
        folder: of pictures; repeated until there are enough.
        target: folder for the Parquet files.
        images: number of pictures.
        stored, thumbnail: encoded widths and heights (pixels).

    Returns:
        the warm rate, and the rate of the first run in a process, in which Daft loads its optional libraries.

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
    print(*daft_rates(Path(files), Path(parquet), int(count), (width, height), (small_width, small_height)))
