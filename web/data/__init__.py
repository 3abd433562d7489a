"""The lake's tables for page requests: copies without pixels in DuckDB, kept up to date by table version."""
