"""Networks in Keras, their losses, and their learning rates."""
