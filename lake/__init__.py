"""The Delta tables and the files beside them: sessions, schemas, reading, writing, dataset snapshots.

Where to look:

tables        schemas, tables, row_writer: columns, reads and commits by Spark, single rows without Spark
queries       views: what Spark SQL sees
files         storage, snapshot: files on a disk or on S3, and the dataset snapshots made of them
labels        label_hierarchy, label_counts: labels.csv, and the accepted uploads of each label
Spark         spark: sessions, their properties, Python workers
locks         locks: one holder at a time, on a disk or on S3
pictures      pictures: decoding, orientation, resizing, encoding
erasure       erasure: users removed from tables and from old versions
errors        errors: what can go wrong with the lake
"""
