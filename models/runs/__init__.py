"""The driver's side of a training run: checks, Spark cluster, progress, resumption, results."""
