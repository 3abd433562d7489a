"""One thin file per command; each also runs under spark-submit."""
