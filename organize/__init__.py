"""From samples to datasets: near duplicates, splits, and dataset snapshots."""
