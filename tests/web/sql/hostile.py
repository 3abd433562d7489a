"""Hostile statements: they read files, reach the network, change something, or use up memory and time."""

_FILES = (
    "/etc/passwd", "/proc/self/environ", "/proc/self/maps", "/proc/1/environ", "~/.ssh/id_rsa", "*",
    "/dev/zero",
)  # fmt: skip

_READING = [
    template.format(path=path)
    for path in _FILES
    for template in (
        "SELECT * FROM read_csv_auto('{path}')",
        "SELECT * FROM '{path}'",
        "SELECT * FROM read_text('{path}')",
        "SELECT * FROM read_blob('{path}')",
        "SELECT * FROM glob('{path}')",
    )
]

_REACHING = [
    "SELECT * FROM read_csv_auto('http://127.0.0.1:{port}/')",
    "SELECT * FROM read_parquet('https://127.0.0.1:{port}/x.parquet')",
    "SELECT * FROM read_json_auto('s3://bucket/x.json')",
    "ATTACH 'http://127.0.0.1:{port}/x.duckdb' AS other",
    "INSTALL httpfs",
    "INSTALL httpfs FROM 'http://127.0.0.1:{port}'",
    "LOAD httpfs",
    "LOAD '/tmp/evil.duckdb_extension'",
    "FORCE INSTALL sqlite",
    "SELECT * FROM sqlite_scan('/tmp/x.db', 't')",
    "SELECT * FROM postgres_scan('host=127.0.0.1 port={port}', 'public', 't')",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "SELECT getenv('PATH')",
    "SELECT getenv('AWS_SECRET_ACCESS_KEY')",
    "SELECT * FROM sys.modules",
    "SELECT * FROM connection",
    "SELECT * FROM request",
    "SELECT * FROM json",
]

_CHANGING = [
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY uploads TO '{folder}/out.parquet' (FORMAT parquet)",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/other.duckdb' AS other",
    "ATTACH '{folder}/other.duckdb' AS other (READ_ONLY false)",
    "CREATE TABLE evil AS SELECT 1",
    "DROP TABLE uploads",
    "DELETE FROM uploads",
    "UPDATE uploads SET label = 'x'",
    "INSERT INTO labels (label) VALUES ('x')",
    "ALTER TABLE uploads ADD COLUMN x INTEGER",
    "TRUNCATE uploads",
    "VACUUM",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET memory_limit = '100GB'",
    "SET threads = 100",
    "SET temp_directory = '{folder}'",
    "SET allow_unsigned_extensions = true",
    "SET python_enable_replacements = true",
    "PRAGMA enable_external_access",
    "PRAGMA database_list; COPY (SELECT 1) TO '{folder}/out.csv'",
    "SELECT 1; DROP TABLE uploads",
    "CALL force_checkpoint()",
    "SET GLOBAL log_query_path = '{folder}/log'",
    "PRAGMA profiling_output = '{folder}/profile'",
    "PREPARE p AS COPY (SELECT 1) TO '{folder}/out.csv'",
    "USE other",
]

_USING_UP = [
    "SELECT count(*) FROM range(1000000000) a, range(1000000000) b",
    "SELECT sum(sin(a.range) * cos(b.range)) FROM range(1000000) a, range(1000000) b",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    "WITH RECURSIVE r AS (SELECT 'x' AS t UNION ALL SELECT t || t FROM r) SELECT max(length(t)) FROM r",
    "SELECT repeat('x', 2000000000)",
    "SELECT length(repeat(repeat('x', 1000000), 100000))",
    "SELECT list(range) FROM range(1000000000)",
    "SELECT string_agg(range::VARCHAR, ',') FROM range(1000000000)",
    "SELECT range(0, 100000000000)",
    "SELECT unnest(range(0, 4000000000))",
    "SELECT * FROM range(1000000000) ORDER BY hash(range)",
    "SELECT DISTINCT hash(range) FROM range(1000000000)",
    "SELECT range, count(*) FROM range(1000000000) GROUP BY range",
    "SELECT regexp_matches(repeat('a', 100000), '(a+)+b')",
    "SELECT repeat('x', 400) FROM range(100000)",
    "SELECT json_object('a', repeat('x', 1000000)) FROM range(1000)",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "SELECT " + " + ".join(["1"] * 4000),
    "SELECT lpad('x', 2147483647, 'y')",
    "SELECT printf('%2000000000d', 1)",
]

STATEMENTS = [*_READING, *_REACHING, *_CHANGING, *_USING_UP]
EXHAUSTING = frozenset(_USING_UP)
