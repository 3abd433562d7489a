"""Evaluation of models: metrics, confidence intervals, calibration error, plots."""
