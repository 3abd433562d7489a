"""S3 object stores: listing, reading and writing objects, with retries and clear errors."""
