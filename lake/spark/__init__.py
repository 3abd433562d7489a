"""Spark sessions and the Python workers of Spark."""
