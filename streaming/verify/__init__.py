"""Verification of one picture: bytes in, verdict and stored picture out. No Spark, no Kafka."""
