"""Datasets in formats that other libraries read."""
