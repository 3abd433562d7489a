"""Training worker: training loop, checkpoints, initial weights, messages to the driver."""
