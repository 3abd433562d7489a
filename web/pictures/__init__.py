"""Pixels that are safe to show: never the bytes that somebody uploaded."""
