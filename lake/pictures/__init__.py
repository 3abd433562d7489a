"""Decoding, orientation, resizing and encoding: the same for uploads, training and prediction."""
