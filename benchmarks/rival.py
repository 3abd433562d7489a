"""Daft on the same files: decode, two resizes, two encodes, Parquet. The extra `bench` installs it."""

import shutil
import sys
import time
from pathlib import Path


def rate(
    folder: Path, target: Path, images: int, stored: tuple[int, int], thumbnail: tuple[int, int]
) -> float:
    """Images a second of Daft once it is warm; it reads files and checks, hashes and measures nothing.

    Args:
        folder: of pictures; they are listed again until there are enough.
        target: folder for the Parquet files.
        images: how many.
        stored, thumbnail: widths and heights that are encoded, in pixels.

    Raises:
        ModuleNotFoundError: Daft is not installed.
    """
    import daft
    from daft.functions import decode_image, download, encode_image, resize

    files = sorted(str(path) for path in folder.rglob("*.*"))
    paths = [files[number % len(files)] for number in range(images)]

    def run() -> float:
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
        return time.perf_counter() - begun

    run()  # the first run takes several times as long
    seconds = run()
    written = daft.read_parquet(f"{target}/*.parquet").where(~daft.col("jpeg").is_null()).count_rows()
    assert written == images, f"{written} of {images} pictures written"
    return images / seconds


if __name__ == "__main__":
    files, parquet, count, *sides = sys.argv[1:]
    width, height, small_width, small_height = map(int, sides)
    print(rate(Path(files), Path(parquet), int(count), (width, height), (small_width, small_height)))
