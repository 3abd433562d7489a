"""Queries that people write: run in a process of their own, which is killed when it takes too long."""
