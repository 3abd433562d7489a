"""Which models exist: rows of the `models` table, and model cards beside the artifacts."""
