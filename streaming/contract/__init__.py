"""The record contract: Kafka headers and payload of an upload, their checks, and the verdict on an upload."""
