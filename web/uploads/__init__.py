"""Uploads over HTTP: bodies to Kafka records, receipts, verdicts back, and verdicts in plain words."""
