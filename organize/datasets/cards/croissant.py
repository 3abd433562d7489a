"""The dataset card as Croissant 1.0 JSON-LD, which search engines and loaders of datasets read.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html (version 1.0).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lake.snapshot import DatasetSnapshot, Split
from organize.datasets.cards.facts import DatasetFacts

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
PARQUET = "application/x-parquet"
_VOCABULARY = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject",
    "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path",
    "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
    "subField", "transform",
)  # fmt: skip
_CONTEXT: Mapping[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
} | {name: f"cr:{name}" for name in _VOCABULARY}
_SPLIT_URLS = {
    Split.TRAIN: "cr:TrainingSplit",
    Split.VALIDATION: "cr:ValidationSplit",
    Split.TEST: "cr:TestSplit",
}


@dataclass(frozen=True)
class FileLayout:
    """How the pictures of a dataset are stored.

    Args:
        includes: pattern of the files.
        encoding: their media type.
        image: column of the pictures; empty if the files are no Parquet, and records are not described.
        subfield: field of the column that has the bytes; empty if the column has them.
        split: regular expression whose first group is the split in a path.
    """

    includes: str
    encoding: str
    image: str = ""
    subfield: str = ""
    split: str = ""


SHARDS = FileLayout("*/*.parquet", PARQUET, image="jpeg", split=r".*?([a-z]+)/\d+\.parquet$")


def croissant(facts: DatasetFacts, snapshot: DatasetSnapshot, layout: FileLayout) -> dict[str, Any]:
    """The JSON-LD of a dataset. Shards of a snapshot are listed with their hashes.

    Patterns of files are relative to the folder of the JSON-LD, for a snapshot to its `url`.
    """
    described: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": facts.dataset_id,
        "description": f"{sum(facts.totals().values())} labelled pictures of {len(facts.counts)} labels: "
        f"{', '.join(list(facts.counts)[:20])}. {' '.join(facts.problems)}".strip(),
        "license": facts.license,
        "url": snapshot.storage.root,
        "version": "1.0.0",  # another content has another name
        "citeAs": f"Deep Images Hub, dataset {facts.dataset_id}",
        "distribution": [*_shard_objects(snapshot, layout), _file_set(layout)],
        "recordSet": [_labels(facts), _splits()],
    }
    if facts.created:
        described["datePublished"] = facts.created
    if layout.image:
        described["recordSet"].append(_images(layout))
    return described


def _shard_objects(snapshot: DatasetSnapshot, layout: FileLayout) -> list[dict[str, Any]]:
    if layout != SHARDS:
        return []
    return [
        {
            "@type": "cr:FileObject",
            "@id": shard.path,
            "name": shard.path,
            "contentUrl": f"{snapshot.storage.root}/{shard.path}",
            "encodingFormat": PARQUET,
            "sha256": shard.sha256,
        }
        for split in Split
        for shard in snapshot.shards.get(split, ())
    ]


def _file_set(layout: FileLayout) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "files",
        "name": "files",
        "encodingFormat": layout.encoding,
        "includes": layout.includes,
    }


def _labels(facts: DatasetFacts) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "labels",
        "name": "labels",
        "dataType": "sc:Enumeration",
        "key": {"@id": "labels/index"},
        "field": [_field("labels/index", "sc:Integer"), _field("labels/name", "sc:Text")],
        "data": [{"labels/index": index, "labels/name": label} for index, label in enumerate(facts.counts)],
    }


def _splits() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [_field("splits/name", "sc:Text"), _field("splits/url", "sc:URL")],
        "data": [{"splits/name": split, "splits/url": url} for split, url in _SPLIT_URLS.items()],
    }


def _images(layout: FileLayout) -> dict[str, Any]:
    picture = _source({"column": layout.image})
    if layout.subfield:
        picture["transform"] = {"jsonPath": layout.subfield}
    in_path = _source({"fileProperty": "fullpath"}) | {"transform": {"regex": layout.split}}
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "key": {"@id": "images/image_id"},
        "field": [
            _field("images/image_id", "sc:Text") | {"source": _source({"column": "image_id"})},
            _field("images/image", "sc:ImageObject") | {"source": picture},
            _field("images/label", "sc:Integer")
            | {"source": _source({"column": "label"}), "references": {"field": {"@id": "labels/index"}}},
            _field("images/split", "sc:Text")
            | {"source": in_path, "references": {"field": {"@id": "splits/name"}}},
        ],
    }


def _field(name: str, kind: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name.rpartition("/")[2], "dataType": kind}


def _source(extract: dict[str, str]) -> dict[str, Any]:
    return {"fileSet": {"@id": "files"}, "extract": extract}
