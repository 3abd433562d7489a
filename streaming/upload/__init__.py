"""Send pictures to Kafka as upload records: the producer side of `hub push`."""
