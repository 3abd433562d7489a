"""Training on one GPU: the worker's real loop beside a plain Keras script."""
