"""What a running ingestion shows: counts, lag, metrics and progress."""
