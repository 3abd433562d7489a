"""Monitoring of a running ingestion: counts, lag, Prometheus metrics and the progress log."""
