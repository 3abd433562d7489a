"""The embedded broker: a real Kafka broker on this machine, for users without a cluster."""
