"""The section organize of hub.toml."""

from typing import Annotated

from pydantic import Field, field_validator

from conf.choices import KeepTogether, SplitBy
from conf.value_types import Positive, Section, Seed, Share, WorkFolder


class Organize(Section):
    """Near duplicates, splits, and the shards of a dataset snapshot."""

    phash_distance: Annotated[int, Field(ge=0, le=16)]
    duplicate_neighbours: Annotated[int, Field(ge=1, le=60)]
    duplicate_cosine: Annotated[float, Field(ge=-1, le=1)]
    fractions: tuple[Share, Share, Share]
    split_by: SplitBy
    keep_together: tuple[KeepTogether, ...]
    seed: Seed
    shard_rows: Positive
    row_group_rows: Positive
    no_flip_parents: tuple[str, ...]
    license: str
    embedder: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    embedder_side: Positive
    index_dir: WorkFolder
    chunk_images: Annotated[int, Field(gt=0, le=16384)]
    trigger_seconds: Annotated[float, Field(ge=0)]
    sample_seconds: Annotated[float, Field(ge=0)]
    lock_seconds: Annotated[float, Field(ge=0)]

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-9 or value[0] == 0:
            raise ValueError("train, validation and test must sum to 1, with something to train on")
        return value
