"""The embedded default: a real Kafka broker on this machine."""
