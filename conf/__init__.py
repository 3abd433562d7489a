"""Configuration: hub.toml, its validation with pydantic, and the settings files of Spark, Ivy and Log4j."""
