"""Whether images are still there that something was computed of, without holding up an erasure meanwhile."""

from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from lake import tables
from lake.table import Table
from organize.errors import ErasedMeanwhile


def refuse_if_erased(spark: SparkSession, settings: Settings, images: DataFrame) -> None:
    """Refuse what was computed of erased images: it would say something about them.

    Args:
        images: with image_id. The caller holds the organizing lock, so no erasure begins after this.

    Raises:
        ErasedMeanwhile: a sample of them is gone.
    """
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES).select("image_id")
    gone = images.select("image_id").join(samples, "image_id", "left_anti").count()
    if gone:
        raise ErasedMeanwhile(
            f"{gone:,} images were erased while clusters or labels were computed of them: run it again"
        )
