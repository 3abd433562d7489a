"""The ledger `uploads`: one commit for each micro-batch, each upload once."""
