"""Input pipeline: from the rows of a dataset snapshot to batches of pixels."""
