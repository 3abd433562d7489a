"""What an upload says: the record contract, its headers, and the verdicts on it."""
