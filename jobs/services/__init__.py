"""Commands that start, stop and show services: the Kafka broker and TensorBoard. None needs Spark."""
