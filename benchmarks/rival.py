"""Daft on the same files: decode, two resizes, two encodes, Parquet. The extra `bench` installs it."""

import shutil
import time
from pathlib import Path


def rate(
    folder: Path, target: Path, images: int, stored: tuple[int, int], thumbnail: tuple[int, int]
) -> float:
    """Images a second of Daft, which reads files and checks, hashes and measures nothing.

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

    def run(listed: list[str]) -> int:
        shutil.rmtree(target, ignore_errors=True)
        image = decode_image(download(daft.col("path")), mode="RGB")
        frame = (
            daft.from_pydict({"path": listed})
            .into_batches(64)
            .select(daft.col("path"), image.alias("image"))
            .select(
                daft.col("path"),
                encode_image(resize(daft.col("image"), *stored), "jpeg").alias("jpeg"),
                encode_image(resize(daft.col("image"), *thumbnail), "jpeg").alias("thumbnail"),
            )
        )
        frame.write_parquet(str(target))
        return int(daft.read_parquet(f"{target}/*.parquet").where(~daft.col("jpeg").is_null()).count_rows())

    run(paths[: max(2, images // 10)])
    begun = time.perf_counter()
    written = run(paths)
    seconds = time.perf_counter() - begun
    assert written == images, f"{written} of {images} pictures written"
    return images / seconds
