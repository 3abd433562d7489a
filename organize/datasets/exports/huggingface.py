"""Parquet files that Hugging Face `datasets` loads with decoded pictures and named labels.

Source: https://huggingface.co/docs/datasets/image_dataset and the class `datasets.Features`.
"""

import io
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from lake.snapshot import DatasetSnapshot, Split
from models.inference.export_target import File
from organize.datasets.exports.pictures import shards

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def files(snapshot: DatasetSnapshot) -> Iterator[File]:
    """`data/<split>-<shard>-of-<shards>.parquet` with image, label and image_id."""
    schema = _schema(snapshot)
    for split in Split:
        total = len(snapshot.shards.get(split, ()))
        for number, (_, pictures) in enumerate(shards(snapshot, split)):
            rows = [
                {
                    "image": {"bytes": picture.jpeg, "path": f"{picture.image_id}.jpg"},
                    "label": picture.index,
                    "image_id": picture.image_id,
                }
                for picture in pictures
            ]
            content = io.BytesIO()
            # JPEG does not compress further.
            pq.write_table(
                pa.Table.from_pylist(rows, schema), content, compression="none", use_dictionary=False
            )
            yield f"data/{split}-{number:05d}-of-{total:05d}.parquet", content.getvalue()


def _schema(snapshot: DatasetSnapshot) -> pa.Schema:
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(snapshot.labels), "_type": "ClassLabel"},
        "image_id": {"dtype": "string", "_type": "Value"},
    }
    described = json.dumps({"info": {"features": features}}, ensure_ascii=False)
    fields = [("image", _IMAGE), ("label", pa.int64()), ("image_id", pa.string())]
    return pa.schema(fields, metadata={"huggingface": described})
