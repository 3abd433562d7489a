"""The `mapInArrow` pass over Kafka records, and the decoder process that may crash."""
