"""Uploads from the phone to the tables: sent to Kafka, verified, committed to the ledger, and followed.

Where to look, in the order an upload passes through:

reading       sources: folders, archives, buckets and the digits that `hub push` reads
sending       upload, stores: Kafka records that are acknowledged; large pictures go to an object store
contract      contract, errors, units: headers of an upload, and the closed list of verdicts
Kafka         topics, kafka_source: the hub's topics, and how Spark reads them
backlog       backlog, record_batches: committed records of a topic, counted without reading them
one picture   verify: bytes in, verdict out
Arrow pass    isolate: records in, ledger rows out; a decoder process that may crash
ledger        ledger: one commit for each micro-batch, each upload exactly once, and resume offsets
followers     follow: samples, label counts, dead letters and verdicts
ingestion     ingestion, watch: all streaming queries of an ingestion; its metrics, lag and report
afterwards    rejects, erasure, erasure_requests, erasure_service: rejected uploads are replayed, users erased
"""
