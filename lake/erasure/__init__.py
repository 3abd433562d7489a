"""Removing a user from the tables and from their old versions."""
