"""Types of the values in hub.toml, and the base of its sections."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from conf import places
from conf.places import resolve_path

LAST_SEED = 2**32 - 1  # the largest seed that Keras and NumPy accept

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=LAST_SEED)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
AbsolutePath = Annotated[Path, AfterValidator(lambda path: Path(resolve_path(str(path))))]
WorkFolder = Annotated[AbsolutePath, AfterValidator(places.check_work_folder)]


class Section(BaseModel):
    """A frozen section that refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
