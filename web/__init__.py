"""The hub in a browser and behind HTTP, and the HTML report.

Where to look:

server       server: the application, its HTTP server, LAN access
requests     api, pages: routers of /api/v1, routers and templates of the pages
resources    resources: what requests share, and FastAPI's dependencies that hand it out
uploads      uploads: pictures to Kafka, verdicts back, the reasons in plain words
inference    inference: TFLite interpreters, one a thread; pictures decoded in a process of their own
faces        faces: faces found, and compared by a triplet model of the hub
queries      sql: statements of people, each in a process that can be killed
decisions    decisions: decisions about labels, and agreement of several people
trainings    trainings: a queue of `hub train`
erasures     erasures: a queue of `hub erase`
access       access: who asks: accounts, keys, sessions, roles, rates, CSRF tokens
data         data: copies of the lake's tables in DuckDB, kept by table version
pictures     pictures: pixels that are safe to show
problems     problems: errors as problem+json
report       report: the HTML report of a batch and of a model
review       review: the page on which people decide about doubtful labels
"""
