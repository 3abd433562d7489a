"""Dataset snapshots: choosing samples, Parquet shards, cards, exports."""
