"""The embedding of pictures as a step of their description."""

from dataclasses import dataclass

import pyarrow as pa

from organize.features.description import with_column
from organize.features.network_file import NetworkFile
from organize.features.vectors import STORED


@dataclass(frozen=True)
class WithVectors:
    """Adds the column `vector` to pictures, as in `embeddings`: null if the picture cannot be decoded.

    Args:
        file: of the embedder.
    """

    file: NetworkFile

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Embed the pictures of a batch, on one core."""
        column: list[bytes | None] = []
        if batch.num_rows:
            from organize.features import network

            vectors = network.load(self.file).embed_encoded(batch["jpeg"].to_pylist())
            column = [None if vector is None else vector.astype(STORED).tobytes() for vector in vectors]
        return with_column(batch, "vector", pa.array(column, pa.binary()))
