"""The lake: Delta tables, dataset snapshots, and the Spark sessions, locks and codecs that they need.

Where to look:

tables        table, schemas, tables, row_writer: names, columns, reads and commits, rows without Spark
queries       views: the views for Spark SQL
files         storage, snapshot: files on a disk or on S3, and dataset snapshots
labels        label_hierarchy, label_recount: labels.csv, and the accepted uploads of each label
Spark         spark: sessions, their properties, Python workers
locks         locks: file locks on a disk, leases on S3
pictures      pictures: decoding, orientation, resizing, encoding
erasure       erasure: a user's data is deleted from tables and from their old versions
errors        errors: exceptions of this package
"""
