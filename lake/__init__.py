"""The tables: sessions, schemas, reading and writing, organizing, snapshots."""
