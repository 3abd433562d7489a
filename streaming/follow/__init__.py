"""The queries that follow the ledger: samples, label counts and dead letters."""
