"""Keras models (ResNets), loss functions and learning-rate schedules."""
