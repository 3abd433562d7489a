"""Clusters of Spark for tests."""
