"""The sections [clusters] and [checks] of hub.toml."""

from typing import Annotated

from pydantic import Field

from conf.value_types import Positive, Section


class Clusters(Section):
    """Clusters of similar pictures."""

    count: Annotated[int, Field(ge=0)]
    max_count: Annotated[int, Field(gt=0, le=64)]
    min_images: Annotated[int, Field(ge=2)]
    sample_images: Annotated[int, Field(ge=100)]
    outlier_deviations: Annotated[float, Field(gt=0)]
    suggest_share: Annotated[float, Field(gt=0.5, le=1)]


class Checks(Section):
    """Checks of labels by models, and the review of doubtful ones."""

    folds: Annotated[int, Field(ge=2, le=20)]
    min_images: Annotated[int, Field(ge=2)]
    judged_images: Annotated[int, Field(ge=100)]
    unknown_labels: tuple[str, ...]
    review_images: Positive
    deep_arch: str
    deep_side: Positive
    deep_epochs: Positive
    deep_folds: Annotated[int, Field(ge=2, le=20)]
    deep_parallel: Positive
