"""Predictions of single pictures with the TFLite file of a model, without TensorFlow."""
