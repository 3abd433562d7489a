"""Verifies the files of a dataset snapshot: every shard and the manifest against their hashes. No Spark."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from lake.errors import StorageError
from lake.snapshot import MANIFEST, SHARD_SCHEMA, Shard
from lake.storage import Storage
from organize.datasets.catalogue import DatasetEntry


@dataclass(frozen=True)
class Problem:
    """A file of a snapshot that is not as it was written."""

    path: str
    problem: str


@dataclass(frozen=True)
class Verification:
    """Result of a verification: shards and bytes that were read, and problems; none if all is well."""

    shards: int
    bytes: int
    problems: tuple[Problem, ...]


def verify(entry: DatasetEntry) -> Verification:
    """Read every file of a dataset and compare it with the manifest, and the manifest with its row."""
    if entry.snapshot is None:
        return Verification(0, 0, (Problem(MANIFEST, entry.problem),))
    problems: list[Problem] = []
    size = 0
    actual = entry.snapshot.sha256()
    if entry.manifest_sha256 and actual != entry.manifest_sha256:
        problems.append(
            Problem(MANIFEST, f"altered: sha256 is {actual}, registered is {entry.manifest_sha256}")
        )
    shards = [shard for by_split in entry.snapshot.shards.values() for shard in by_split]
    for shard in shards:
        length, problem = _verify_shard(entry.storage, shard)
        size += length
        if problem:
            problems.append(Problem(shard.path, problem))
    expected = {MANIFEST, *(shard.path for shard in shards)}
    unknown = [name for name in entry.storage.list_files() if name not in expected and not _hidden(name)]
    problems += [Problem(name, "not in the manifest") for name in unknown]
    return Verification(len(shards), size, tuple(problems))


def _verify_shard(storage: Storage, shard: Shard) -> tuple[int, str]:
    """The shard's size (bytes) and what is wrong with it; empty if nothing is."""
    if not storage.exists(shard.path):
        return 0, "missing"
    try:
        content = storage.read(shard.path)
    except StorageError as error:
        return 0, str(error)
    actual = hashlib.sha256(content).hexdigest()
    if actual != shard.sha256:
        return len(content), f"altered: sha256 is {actual}, the manifest says {shard.sha256}"
    metadata = pq.ParquetFile(pa.BufferReader(content)).metadata
    if metadata.num_rows != shard.rows:
        return len(content), f"{metadata.num_rows} rows, the manifest says {shard.rows}"
    missing = set(SHARD_SCHEMA.names) - set(metadata.schema.to_arrow_schema().names)
    return len(content), f"no column {min(missing)}" if missing else ""


def _hidden(name: str) -> bool:
    """Whether a file is hidden, as checksums are that Spark leaves beside what it reads."""
    return any(part.startswith(".") for part in name.split("/"))
