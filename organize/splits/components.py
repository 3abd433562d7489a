"""Connected components: groups that share a user, device or batch stay in one split."""

from collections.abc import Iterable, Sequence

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as f
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from conf.choices import KeepTogether

UNIT = "unit"  # column: images of one unit stay in one split


def with_unit(samples: DataFrame, keep_together: Sequence[KeepTogether]) -> DataFrame:
    """Add the column `unit`: the group of near duplicates, or the smallest group of a connected component.

    A sample without a group is a group of its own. Two groups are connected if they have an image of the same
    user (device, batch); images without one connect nothing.

    Args:
        samples: with image_id, duplicate_group and the columns of `keep_together`.
    """
    grouped = samples.withColumn(UNIT, f.coalesce("duplicate_group", "image_id"))
    if not keep_together:
        return grouped
    pairs = [
        grouped.where(f.col(name).isNotNull()).select(
            UNIT, f.concat(f.lit(f"{name}:"), f.col(name)).alias("owner")
        )
        for name in keep_together
    ]
    links = pairs[0]
    for other in pairs[1:]:
        links = links.union(other)
    collected = [(row.unit, row.owner) for row in links.distinct().collect()]
    names = components(collected)
    frame = samples.sparkSession.createDataFrame(
        [(group, name) for group, name in names.items() if group != name], "unit string, component string"
    )
    joined = grouped.join(f.broadcast(frame), UNIT, "left")
    return joined.withColumn(UNIT, f.coalesce("component", UNIT)).drop("component")


def components(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name the connected components of groups and their owners.

    Args:
        links: group and owner; a group may have several owners.

    Returns:
        each group to the smallest group of its component.
    """
    rows = sorted(set(links))
    if not rows:
        return {}
    groups, group_of = np.unique([group for group, _ in rows], return_inverse=True)
    owners, owner_of = np.unique([owner for _, owner in rows], return_inverse=True)
    nodes = len(groups) + len(owners)
    edges = coo_matrix((np.ones(len(rows)), (group_of, len(groups) + owner_of)), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    # Groups are sorted, so the first of a component is its smallest.
    smallest: dict[int, str] = {}
    return {
        str(group): smallest.setdefault(int(number), str(group))
        for group, number in zip(groups, component[: len(groups)], strict=True)
    }
