"""From pictures to acknowledged Kafka records: what `hub push` does."""
