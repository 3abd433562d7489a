"""Probabilities that a model of the hub gives to the labels of pictures, on Spark, by its TFLite file.

TFLite starts in a tenth of the time that importing TensorFlow takes, so that an upload is scored in seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from ai_edge_litert.interpreter import Interpreter
from pyspark.sql import DataFrame
from pyspark.sql import types as t

from lake.spark import python_workers
from lake.storage import Storage
from models.errors import UnusableModel
from models.formats.export import TFLITE
from models.pictures import inputs
from models.registry.model_cards import ModelCard
from organize.features.description import with_column
from organize.labels.probe import Floats

PROBABILITIES = "probabilities"
BATCH = 4  # pictures per call: on one core larger batches leave the cache


class LabelNetwork:
    """A model's TFLite file: RGB 0–255 to probabilities of its labels.

    Raises:
        UnusableModel: the file is damaged, or has other inputs or outputs than the model's card says.
    """

    def __init__(self, content: bytes, card: ModelCard) -> None:
        self._side, self._labels = card.side, len(card.labels)
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._interpreter.resize_tensor_input(self._input, (BATCH, card.side, card.side, 3))
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            cause = " ".join(str(error).split())[:200]
            raise UnusableModel(f"{TFLITE} of model {card.model_id} cannot be used: {cause}") from None
        output = self._interpreter.get_output_details()[0]
        self._output, found = output["index"], int(output["shape"][-1])
        if found != self._labels:
            raise UnusableModel(
                f"{TFLITE} of model {card.model_id} has {found} outputs, the model {self._labels} labels"
            )

    def probabilities(self, contents: Sequence[bytes]) -> list[Floats | None]:
        """Probabilities of the labels of encoded pictures; None for one that cannot be decoded."""
        results: list[Floats | None] = []
        batch = np.zeros((BATCH, self._side, self._side, 3), np.float32)
        for first in range(0, len(contents), BATCH):
            readable = []
            part = contents[first : first + BATCH]
            for row, content in enumerate(part):
                try:
                    batch[row] = inputs.decode_centre_crop(content, self._side)
                    readable.append(True)
                except Exception:  # Pillow's decoders raise almost any exception on damaged bytes
                    readable.append(False)
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            outputs = self._interpreter.get_tensor(self._output)
            results += [outputs[row].copy() if shown else None for row, shown in enumerate(readable)]
        return results


@lru_cache(maxsize=1)
def _load(files: Storage, card_id: str, side: int, labels: tuple[str, ...]) -> LabelNetwork:
    """Once per process: a Spark Python worker asks in every task."""
    return LabelNetwork(files.read(TFLITE), ModelCard(card_id, "", "", side, labels))


@dataclass(frozen=True)
class WithProbabilities:
    """Adds the column `probabilities` to pictures, in the order of a model's labels.

    It is null for a picture that cannot be decoded.

    Args:
        card: of the model.
        files: its artifacts.
    """

    card: ModelCard
    files: Storage

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Predict the pictures in `jpeg`, on one core."""
        found: list[Floats | None] = []
        if batch.num_rows:
            network = _load(self.files, self.card.model_id, self.card.side, self.card.labels)
            found = network.probabilities([bytes(jpeg or b"") for jpeg in batch["jpeg"].to_pylist()])
        rows = [None if row is None else row.tolist() for row in found]
        return with_column(batch, PROBABILITIES, pa.array(rows, pa.list_(pa.float32())))


def with_probabilities(pictures: DataFrame, card: ModelCard, files: Storage) -> DataFrame:
    """Replace the column `jpeg` of pictures by `probabilities`, as `WithProbabilities`, on Spark."""
    schema = t.StructType([field for field in pictures.schema if field.name != "jpeg"])
    schema = schema.add(PROBABILITIES, t.ArrayType(t.FloatType()))
    predict = WithProbabilities(card, files)

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            scored = predict(batch)
            python_workers.freeze_gc()
            yield scored.drop_columns("jpeg")

    return pictures.mapInArrow(score, schema)
