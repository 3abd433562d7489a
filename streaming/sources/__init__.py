"""Sources of `hub push`: folders, zip and tar archives, S3 buckets, and scikit-learn's digits."""
