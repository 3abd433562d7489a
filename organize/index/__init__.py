"""The index of embeddings: the nearest vectors of a vector."""
