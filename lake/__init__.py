"""The lake: Delta tables, dataset snapshots, and the Spark sessions, locks and codecs that they need.

Where to look:

tables        table, schemas, tables: names, columns, reads and commits
no Spark      row_writer, row_merge, table_files: rows written and merged, data files read
streams       transactions: the micro-batches of streaming queries that a table has
queries       views, sql: the views for Spark SQL; statements in a text, what columns mean
files         storage, snapshot: files on a disk or on S3, and dataset snapshots
labels        label_slug, label_hierarchy, label_recount: slugs, labels.csv, accepted uploads of each label
Spark         spark, job_failures: sessions, their properties, Python workers; causes of failed jobs
locks         locks: file locks on a disk, leases on S3
pictures      pictures: decoding, orientation, resizing, encoding
erasure       erasure: a user's data is deleted from tables and from their old versions
process       native_output: what native code and JVMs write, and its panics
errors        errors: exceptions of this package
"""
