"""Faces in pictures: where they are, whose they look like, and how far two of them are from each other."""
