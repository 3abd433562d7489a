"""Erasures that people ask for on a page: a queue, and the command that carries them out."""
