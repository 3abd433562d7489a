"""From the phone to the table: producer, verification, preparation, the streaming queries.

Where to look, along the way of a picture:

sources       sources, items, archives, forward, xz, buckets, ranged, digits, phones: pictures as uploads
hostile       hostile, specimens: uploads that ought to be refused, for demos and tests
push          orders, producer, pushed, claims, ahead: acknowledged, counted, large ones through the store
contract      record, wire, envelope, headers, references, verdict, errors, units: what an upload says
object store  objects, answers, payloads: reading and writing S3, fetching what uploads refer to
topics        topics, connection: made, described, reached
one picture   rules, verify, exhaustion, preprocess, quality, phash, prepared: bytes in, verdict out
isolation     decoder, sandbox, exchange: the process that may die of a picture
ledger        rows, ledger, judging, identity, index, lease: a micro-batch is one commit, each upload once
derived       follow, followers, derived, samples, images, labels, deadletters: what follows from the ledger
ingest        query, checkpoint, continuation, failures, gate, interrupts: started, gone on with, ended
watched       watch, ingested, lag, metrics, progress: what a running ingestion shows
afterwards    rejects, erasure: refused uploads sent again, users taken out
"""
