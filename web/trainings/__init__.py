"""Trainings that people ask for: a queue on a disk, and `hub train` as a process of its own for each."""
