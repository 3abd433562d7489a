"""The ledger (table `uploads`): one commit per micro-batch, each upload exactly once; resume offsets."""
