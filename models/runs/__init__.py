"""What the driver does for a training run: checks, the cluster, progress, resumption, results."""
