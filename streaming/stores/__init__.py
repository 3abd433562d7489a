"""S3 object stores: list, read and write objects, with retries and clear errors."""
