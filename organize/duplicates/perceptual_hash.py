"""Groups of all samples: remembered ones, and by perceptual hash (pHash) those of images not compared yet."""

from itertools import pairwise

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from organize.duplicates.group_ids import PREFIX

HASH_BITS = 64


def with_duplicate_group(samples: DataFrame, distance: int) -> DataFrame:
    """Add the column `duplicate_group`: the remembered group of an image, or else one by pHash.

    Groups of images that were compared as they arrived (`organize.duplicates.grouping`) stay as they are.
    Other images are near duplicates if their pHashes differ in at most `distance` bits, also through a chain.
    Such an image joins a remembered group among its near duplicates; if there is none, the group is the
    smallest image_id among them.

    Args:
        samples: with image_id, phash (64-bit integer) and was_duplicate_group.
        distance: bits, 0 to 16.
    """
    remembered = f.when(f.col("was_duplicate_group").startswith(PREFIX), f.col("was_duplicate_group"))
    known = samples.withColumn("remembered", remembered)
    if known.where("remembered IS NULL").isEmpty():
        return known.withColumnRenamed("remembered", "duplicate_group")
    roots = _roots(near_pairs(samples.select("phash").distinct(), distance))
    same_group = Window.partitionBy("root")
    by_hash = f.coalesce(f.min("remembered").over(same_group), f.min("image_id").over(same_group))
    return (
        known.join(f.broadcast(roots), "phash", "left")
        .withColumn("root", f.coalesce("root", "phash"))
        .withColumn("duplicate_group", f.coalesce("remembered", by_hash))
        .drop("root", "remembered")
    )


def near_pairs(hashes: DataFrame, distance: int) -> DataFrame:
    """Pairs of hashes that differ in 1 to `distance` bits.

    If hashes are cut into distance + 1 bands, two such hashes are equal in at least one band (pigeonhole).
    So a join on equal bands finds every pair without comparing all pairs.

    Source: Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007, section 3.

    Args:
        hashes: distinct values in a column `phash`.

    Returns:
        columns `low` and `high`, low < high, each pair once.
    """
    bands = distance + 1
    edges = [HASH_BITS * band // bands for band in range(bands + 1)]
    pieces = [
        f.struct(f.lit(band).alias("band"), _bits(start, end).alias("bits"))
        for band, (start, end) in enumerate(pairwise(edges))
    ]
    banded = hashes.select("phash", f.explode(f.array(*pieces)).alias("piece")).select("phash", "piece.*")
    left = banded.withColumnRenamed("phash", "low")
    right = banded.withColumnRenamed("phash", "high")
    close = f.bit_count(f.col("low").bitwiseXOR(f.col("high"))) <= distance
    agreeing = left.join(right, ["band", "bits"]).where("low < high")
    return agreeing.where(close).select("low", "high").distinct()


def _bits(start: int, end: int) -> Column:
    """Bits `start` to `end` of the hash, from the lowest."""
    return f.shiftrightunsigned(f.shiftleft("phash", HASH_BITS - end), HASH_BITS - end + start)


def _roots(pairs: DataFrame) -> DataFrame:
    """Each hash that has a near duplicate, with the smallest hash of its connected component.

    Returns:
        columns `phash` and `root`.
    """
    edges = np.array([(row.low, row.high) for row in pairs.collect()], dtype=np.int64).reshape(-1, 2)
    hashes, index = np.unique(edges, return_inverse=True)
    index = index.reshape(-1, 2)
    graph = coo_matrix((np.ones(len(index)), (index[:, 0], index[:, 1])), shape=(len(hashes), len(hashes)))
    _, component = connected_components(graph, directed=False)
    # `hashes` is sorted, so the first hash of a component is its smallest.
    _, first = np.unique(component, return_index=True)
    rows = [(int(value), int(hashes[first[part]])) for value, part in zip(hashes, component, strict=True)]
    spark: SparkSession = pairs.sparkSession
    return spark.createDataFrame(rows, "phash long, root long")
