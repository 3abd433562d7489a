"""Followers: streaming queries that read the ledger and write samples, label counts and dead letters."""
