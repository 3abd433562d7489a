"""Picture decoding, orientation, resizing and encoding, shared by uploads, training and prediction."""
