"""The `mapInArrow` function that verifies Kafka records, and the decoder process that it uses."""
