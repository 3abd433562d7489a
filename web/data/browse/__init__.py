"""Queries of the pages that people browse: labels, pictures, batches, rejected uploads, models."""
