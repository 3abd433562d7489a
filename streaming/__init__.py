"""From the phone to the table: uploads are sent, checked, stored in the ledger, and followed.

Where to look, in the order an upload passes through:

reading       sources: folders, archives, buckets and the digits that `hub push` reads
sending       upload, stores: Kafka records that are acknowledged; large pictures go to an object store
contract      contract, errors, units: what an upload says, and the closed list of verdicts
Kafka         topics, kafka_source: the hub's topics, and how Spark reads them
one picture   verify: bytes in, verdict out
Arrow pass    isolate: records in, ledger rows out; a decoder process that may crash
ledger        ledger: one commit for each micro-batch, each upload once, and where to resume
followers     follow: samples, label counts and dead letters
ingestion     ingestion, watch: all streaming queries together, and what a running ingestion shows
afterwards    rejects, erasure: rejected uploads sent again, users erased
"""
