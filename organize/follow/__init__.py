"""Streaming queries that organize each new sample: embedding, group, cluster, label score."""
