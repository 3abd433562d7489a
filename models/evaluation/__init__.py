"""How good a model is: metrics, confidence intervals, calibration, and pictures of them."""
