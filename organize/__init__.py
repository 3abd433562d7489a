"""From samples to datasets: near duplicates, splits, and dataset snapshots.

Where to look:

datasets      dataset, shards: the samples of some labels, written as Parquet shards with a manifest
splits        duplicates, splits, label_splits: near duplicates, or whole labels, are in the same split
on demand     demand: `hub train --labels` reuses an existing dataset and model
"""
