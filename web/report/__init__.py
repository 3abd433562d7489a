"""The HTML report of a batch and of a model, a page without a server."""
