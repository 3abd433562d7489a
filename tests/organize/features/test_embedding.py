"""Embedding on Spark, and here: the same features as in Keras, and pictures that cannot be decoded."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from conf.sections import Lake
from conf.settings import Settings
from models.pictures import inputs
from organize.features import network, network_file
from organize.features.description import describe_here, describe_on_spark
from organize.features.embedder import embedder_of
from organize.features.embedding import WithVectors
from organize.features.vectors import to_unit, to_vectors
from tests.support import pictures

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


@pytest.mark.services
def test_vectors_are_the_features_of_the_published_network(
    settings: Settings, spark: "SparkSession", tmp_path: "Path"
) -> None:
    from models import tensorflow_import

    tensorflow_import.load()
    from models.formats.published_weights import published_model
    from models.nets.heads import feature_extractor

    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path))})
    embedder = embedder_of(own)
    assert embedder.model_id == "efficientnet-lite0-128"
    file = network_file.get_or_create(own, embedder)
    made = (tmp_path / "embedders" / file.name).stat().st_mtime_ns
    assert network_file.get_or_create(own, embedder) == file
    assert (tmp_path / "embedders" / file.name).stat().st_mtime_ns == made, "it is made only once"

    contents = [pictures.jpeg(100, 80, seed) for seed in range(9)]
    rows = [(f"i{number}", content) for number, content in enumerate([*contents, b"no picture"])]
    frame = spark.createDataFrame(rows, "image_id string, jpeg binary")
    on_spark = describe_on_spark(frame, [WithVectors(file)], 200).sort_by("image_id")
    assert on_spark.column_names == ["image_id", "vector"]
    assert on_spark["vector"].null_count == 1 and on_spark["vector"][9].as_py() is None
    assert describe_here(frame.toArrow(), [WithVectors(file)]).sort_by("image_id") == on_spark
    embedded = to_vectors(on_spark["vector"].slice(0, 9))

    batch = np.stack([inputs.decode_centre_crop(content, 128) for content in contents]).astype(np.float32)
    expected = feature_extractor(published_model("efficientnet-lite0", 128)).predict_on_batch(batch)
    assert embedded.shape == (9, 1280)
    np.testing.assert_allclose(embedded, to_unit(expected), atol=2e-4)  # float16 keeps 11 bits
    alone = network.load(file).embed_encoded(contents[:1])[0]
    assert alone is not None
    np.testing.assert_allclose(alone, embedded[0], atol=2e-4)
