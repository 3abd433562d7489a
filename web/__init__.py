"""The HTML report of `hub demo`."""
