"""Model registry: the `models` table, and a model card beside each model's artifacts."""
