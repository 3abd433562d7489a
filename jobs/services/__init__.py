"""Commands that start, stop and show services: the broker and TensorBoard. They need no Spark."""
