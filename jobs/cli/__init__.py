"""Shared by all commands: flags, one-line errors, text tables, and the live line on a terminal."""
