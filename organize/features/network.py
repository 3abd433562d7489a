"""A network that runs a TFLite file: pixels to vectors, on one core. No Spark, no TensorFlow."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from lake.errors import UndecodablePicture
from models.pictures import inputs
from organize.errors import UnusableEmbedder
from organize.features.network_file import NetworkFile
from organize.features.vectors import Vectors, to_unit

BATCH = 4  # pictures per call: on one core larger batches are slower, as they leave the cache


class Network:
    """A network up to its last feature layer.

    Args:
        content: of a TFLite file from RGB 0–255, float (n, side, side, 3), to features, float (n, d).
        side: of the input pictures (pixels).

    Raises:
        UnusableEmbedder: the file is damaged, or takes other pictures.
    """

    def __init__(self, content: bytes, side: int) -> None:
        self.side = side
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._interpreter.resize_tensor_input(self._input, (BATCH, side, side, 3))
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            cause = " ".join(str(error).split())[:200]
            raise UnusableEmbedder(
                f"the embedder's TFLite file cannot be used ({cause}): delete the folder embedders in the "
                "lake, it is made again"
            ) from None
        self._output = self._interpreter.get_output_details()[0]["index"]

    @property
    def size(self) -> int:
        """Numbers of a vector."""
        return int(self._interpreter.get_output_details()[0]["shape"][-1])

    def embed(self, pictures: NDArray[np.uint8]) -> Vectors:
        """Embed pictures, RGB (n, side, side, 3), into vectors of length 1, (n, size)."""
        vectors = np.zeros((len(pictures), self.size), np.float32)
        batch = np.zeros((BATCH, self.side, self.side, 3), np.float32)
        for first in range(0, len(pictures), BATCH):
            part = pictures[first : first + BATCH]
            batch[: len(part)] = part
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            vectors[first : first + len(part)] = self._interpreter.get_tensor(self._output)[: len(part)]
        return to_unit(vectors)

    def embed_encoded(self, contents: Sequence[bytes]) -> list[NDArray[np.float32] | None]:
        """Embed encoded pictures; None for one that cannot be decoded.

        They are resized and cropped as for training and prediction.
        """
        decoded = [_decoded(content, self.side) for content in contents]
        readable = [picture for picture in decoded if picture is not None]
        vectors = iter(self.embed(np.stack(readable)) if readable else ())
        return [None if picture is None else next(vectors) for picture in decoded]


@lru_cache(maxsize=1)
def load(file: NetworkFile) -> Network:
    """Load a network, once per process: a Spark Python worker asks in every task."""
    return Network(file.read(), file.side)


def _decoded(content: bytes, side: int) -> NDArray[np.uint8] | None:
    try:
        return inputs.decode_centre_crop(content, side)
    except (OSError, ValueError, SyntaxError, UndecodablePicture):
        return None
