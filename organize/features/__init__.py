"""Embeddings: pictures to vectors, with a network of published weights or a model of the hub."""
