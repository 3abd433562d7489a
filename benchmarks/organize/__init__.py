"""Benchmarks of organizing: index and near duplicates, label checks, snapshots."""
