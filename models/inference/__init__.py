"""Using finished models: prediction, batch inference, evaluation again, export, listing."""
