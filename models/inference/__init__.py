"""Use of trained models: prediction, batch inference, evaluation, export, model catalogue."""
