"""Erasure of a user's data from the tables and from their old versions."""
