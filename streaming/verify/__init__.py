"""One picture: bytes in, verdict and stored picture out. Pure: no Spark, no Kafka."""
