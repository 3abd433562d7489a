"""Parsing of references and their allowed prefixes; no request is sent and no file is read."""

import pytest

from streaming.contract.references import Reference

ALLOWED = ("s3://bucket/allowed", "s3://open-bucket", "file:///srv/in")


@pytest.mark.parametrize(
    ("text", "prefix", "path"),
    [
        ("s3://bucket/allowed/a.jpg", "s3://bucket/allowed", "allowed/a.jpg"),
        ("s3://bucket/allowed/b/c.jpg", "s3://bucket/allowed", "allowed/b/c.jpg"),
        ("s3://open-bucket/x", "s3://open-bucket", "x"),
        ("s3://open-bucket/my%20cat%2Bdog.jpg", "s3://open-bucket", "my cat+dog.jpg"),
        ("s3://open-bucket/%252e%252e/x", "s3://open-bucket", "%2e%2e/x"),  # decoded once: a harmless name
        ("s3://open-bucket/Жук.jpg", "s3://open-bucket", "Жук.jpg"),
        ("file:///srv/in/x.jpg", "file:///srv/in", "srv/in/x.jpg"),
    ],
)
def test_reference_below_a_prefix_is_allowed(text: str, prefix: str, path: str) -> None:
    reference = Reference.parse(text)
    assert (reference.matching_prefix(ALLOWED), reference.path) == (prefix, path)
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/allowed-evil/a.jpg",
        "s3://bucket/allowe",
        "s3://bucket/allowed",  # the prefix itself is a folder
        "s3://bucket/Allowed/a.jpg",
        "s3://bucket/other/allowed/a.jpg",
        "s3://bucket2/allowed/a.jpg",
        "s3://open-bucket.evil/x",
        "file:///srv/inside/x",
        "file:///etc/passwd",
        "file:///bucket/allowed/a.jpg",
        "s3://srv/in/x.jpg",
    ],
)
def test_reference_outside_all_prefixes_is_not_allowed(text: str) -> None:
    assert Reference.parse(text).matching_prefix(ALLOWED) is None
    assert Reference.parse(text).matching_prefix(()) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.jpg",
        "/srv/in/x.jpg",
        "http://169.254.169.254/latest/meta-data",
        "https://bucket.s3.amazonaws.com/allowed/a.jpg",
        "S3://bucket/allowed/a.jpg",
        "s3a://bucket/allowed/a.jpg",
        "s3:/bucket/allowed/a.jpg",
        "s3://bucket",
        "s3://bucket/",
        "s3:///allowed/a.jpg",
        "s3://user:pass@bucket/allowed/a.jpg",
        "s3://bucket:9000/allowed/a.jpg",
        "s3://BUCKET/allowed/a.jpg",
        "s3://arn:aws:s3:us-west-2:123:accesspoint/allowed/a.jpg",
        "s3://bucket/allowed/../secret",
        "s3://bucket/allowed/./a.jpg",
        "s3://bucket/allowed//a.jpg",
        "s3://bucket//allowed/a.jpg",
        "s3://bucket/allowed/%2e%2e/secret",
        "s3://bucket/allowed/.%2E/secret",
        "s3://bucket/allowed/%2E",
        "s3://bucket/allowed/..%2fsecret",
        "s3://bucket/allowed%2Fa.jpg",
        "s3://bucket/allowed/..\\secret",
        "s3://bucket/allowed/%5C..%5Csecret",
        "s3://bucket/allowed/a.jpg?versionId=1",
        "s3://bucket/allowed/a.jpg#part",
        "s3://bucket/allowed/a%00.jpg",
        "s3://bucket/allowed/a%0A.jpg",
        "s3://bucket/allowed/a%ff.jpg",
        "s3://bucket/allowed/a%2",
        "s3://bucket/allowed/a.jpg\n",
        "file://localhost/srv/in/x.jpg",
        "file://host/srv/in/x.jpg",
        "file:///srv/in/../../etc/passwd",
        "file:///srv/in//x",
        "file:srv/in/x.jpg",
        "ftp://bucket/allowed/a.jpg",
    ],
)
def test_invalid_or_ambiguous_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|names|holds|is not"):
        Reference.parse(text)
