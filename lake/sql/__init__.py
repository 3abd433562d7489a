"""Spark SQL for people: statements in a text, and what views and columns mean."""
