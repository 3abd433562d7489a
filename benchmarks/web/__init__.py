"""Benchmark of `hub serve`: pages, pictures, uploads and predictions."""
