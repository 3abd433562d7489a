"""Spark sessions, their properties, and the Python workers of Spark."""
