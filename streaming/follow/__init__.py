"""Followers: streaming queries that follow the ledger: samples, label counts, dead letters, verdicts."""
